"""What a raster file says about its numbers (scale, offset, unit), and what a sample of them looks like."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.grid import Window
from imagery.raster_file import alpha_index, declared_valid, read_window

VOID_NUMBERS: Final = (
    -9999.0,
    -32768.0,
    -32767.0,
    -99999.0,
    -2147483648.0,
    float(np.finfo(np.float32).min),
    float(np.finfo(np.float32).max),
    float(np.float32(-3.402823061e38)),
    1e20,
)
"""Numbers that stand for "no data" by convention, in files that do not declare it: ASTER -9999, SRTM -32768, and
the extremes of the data types, which software writes by default (ESRI's is a little less than the extreme)."""

# All of a file of 2048 x 2048 pixels is sampled; of a larger one 256 windows of 128 x 128, spread evenly.
_ALL_UP_TO_PX: Final = 1 << 22
_SAMPLED_WINDOWS: Final = 16
_SAMPLED_SIDE_PX: Final = 128

_UNIT_TAGS: Final = frozenset({"unit", "units", "unittype", "unit_type"})


def declared_unit(dataset: DatasetReader, index: int) -> str | None:
    """Return the unit of a band as the file spells it: its unit type, or a tag of the band named "units"; or None."""
    tags = (text for tag, text in dataset.tags(index).items() if tag.lower() in _UNIT_TAGS)
    return next((text.strip() for text in (dataset.units[index - 1], *tags) if text and text.strip()), None)


def declared_scale(dataset: DatasetReader, index: int) -> tuple[float, float]:
    """Return the scale and offset of a band as its file declares them; 1 and 0 if it does not."""
    return float(dataset.scales[index - 1]), float(dataset.offsets[index - 1])


def sample(dataset: DatasetReader, index: int, part: Window) -> NDArray[Any]:
    """Return stored numbers of a band that are valid by what its file declares, evenly spread over a part of it.

    Overviews are not used: they may hold averages of numbers that mean "no data".

    Args:
        dataset: The open file.
        index: The 1-based band index.
        part: The part of the file.

    Returns:
        (n,) finite numbers in the file's own type; none if nothing is valid.

    Raises:
        SceneError: The pixels cannot be read.
    """
    alpha = alpha_index(dataset, [index])
    found = []
    for window in spread(part):
        raw = read_window(dataset, [index], window)[0]
        found.append(raw[declared_valid(dataset, index, raw, window, alpha) & np.isfinite(raw)])
    return np.concatenate(found)


def void_numbers(numbers: NDArray[Any]) -> list[float]:
    """Return those of `VOID_NUMBERS` that occur among stored numbers."""
    present = []
    for void in VOID_NUMBERS:
        with np.errstate(over="ignore"):
            stored = np.asarray(void).astype(numbers.dtype) if numbers.dtype.kind == "f" else void
        if (numbers == stored).any():
            present.append(float(stored))
    return present


def spread(part: Window) -> list[Window]:
    """Return windows that are evenly spread over a part of a file, 4 million pixels at most."""
    if part.height * part.width <= _ALL_UP_TO_PX:
        return [part]
    rows, cols = (
        sorted(set(np.linspace(0, length - min(length, _SAMPLED_SIDE_PX), _SAMPLED_WINDOWS).astype(int).tolist()))
        for length in part.shape
    )
    side = _SAMPLED_SIDE_PX
    return [
        Window(part.row_off + row, part.col_off + col, min(side, part.height), min(side, part.width))
        for row in rows
        for col in cols
    ]
