"""What a raster file says about its numbers (scale, offset, unit), and what a sample of them looks like."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.errors import SceneError
from imagery.grid import Window
from imagery.raster_file import alpha_index, declared_valid, read_window

VOID_NUMBERS: Final = (
    -9999.0,
    -10000.0,
    -32768.0,
    -32767.0,
    -99999.0,
    -2147483648.0,
    float(np.finfo(np.float32).min),
    float(np.finfo(np.float32).max),
    float(np.float32(-3.402823061e38)),
    1e20,
)
"""Numbers that stand for "no data" by convention, in files that do not declare it: ASTER -9999, MAJA (Theia) -10000,
SRTM -32768, and the extremes of the data types, which software writes by default (ESRI's is a little less
than the extreme)."""

# All of a file of 2048 x 2048 pixels is sampled; of a larger one 256 windows of 128 x 128, spread evenly.
_ALL_UP_TO_PX: Final = 1 << 22
_SAMPLED_WINDOWS: Final = 16
_SAMPLED_SIDE_PX: Final = 128

FEW_VALUES: Final = 16
"""Whole numbers of so few values are more often classes than measurements."""
_LEAST_REPEATED: Final = 4

_UNIT_TAGS: Final = frozenset({"unit", "units", "unittype", "unit_type"})
# What software writes as a unit that it does not know.
_NO_UNIT: Final = frozenset(
    {"", "unknown", "none", "null", "undefined", "unspecified", "not specified", "n/a", "na", "-"}
)


def declared_unit(dataset: DatasetReader, index: int) -> str | None:
    """Return the unit of a band as the file spells it: its unit type, or a tag of the band named "units".

    Returns:
        None without one, or if it says that it is unknown.
    """
    tags = (text for tag, text in dataset.tags(index).items() if tag.lower() in _UNIT_TAGS)
    texts = ((text or "").strip() for text in (dataset.units[index - 1], *tags))
    return next((text for text in texts if text.lower() not in _NO_UNIT), None)


def declared_scale(dataset: DatasetReader, index: int, *, of_file: bool = True) -> tuple[float, float]:
    """Return the scale and offset of a band as its file declares them; 1 and 0 if it does not.

    GDAL's scale and offset count; if they are not set, metadata items of the band, then of the file: `scale_factor` and
    `add_offset` (HLS, netCDF), `SCALE` and `OFFSET`.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        of_file: Whether items of the file count, which may be meant for other bands.

    Raises:
        SceneError: An item is not a number, or the scale is 0.
    """
    scale, offset = float(dataset.scales[index - 1]), float(dataset.offsets[index - 1])
    if (scale, offset) == (1.0, 0.0):
        given = (
            declared_number(dataset, index, names, of_file=of_file)
            for names in (("scale_factor", "scale"), ("add_offset", "offset"))
        )
        scale, offset = (usual if number is None else number for number, usual in zip(given, (1.0, 0.0), strict=True))
    if scale == 0.0 or not math.isfinite(scale) or not math.isfinite(offset):
        raise SceneError(
            f"{dataset.name}: found the scale {scale} and the offset {offset} of band {index}; expected finite numbers "
            "and a scale other than 0: correct the tags with gdal_edit.py -scale -offset"
        )
    return scale, offset


def declared_number(dataset: DatasetReader, index: int, names: Sequence[str], *, of_file: bool = True) -> float | None:
    """Return a number that a metadata item of a band states, or else of its file; None if there is none.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        names: Names of the item, in lower case, the one that counts most first.
        of_file: Whether items of the file count.

    Raises:
        SceneError: The item is not a number.
    """
    items = (dataset.tags() if of_file else {}, dataset.tags(index))
    tags = {key.lower(): value for found in items for key, value in found.items()}
    name = next((name for name in names if name in tags), None)
    if name is None:
        return None
    try:
        return float(tags[name])
    except ValueError as error:
        raise SceneError(f"{dataset.name}: found the metadata item {name}={tags[name]!r}; expected a number") from error


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


def isolated_extremes(numbers: NDArray[np.float64], gap: float | None = None) -> list[float]:
    """Return the lowest and the highest number if they occur repeatedly, far from every other.

    Args:
        numbers: (n,) stored numbers.
        gap: How far is far; if None, as far as the others lie apart, of which there have to be more than 16.
    """
    found = []
    for end, inward in ((np.min, 1), (np.max, -1)):
        if numbers.size == 0:
            break
        extreme = end(numbers)
        others = numbers[numbers != extreme]
        if not others.size or numbers.size - others.size < _LEAST_REPEATED:
            continue
        least = gap
        if least is None:
            least = float(np.ptp(others)) if np.unique(others).size > FEW_VALUES else math.inf
        if inward * (end(others) - extreme) >= least:
            found.append(float(extreme))
    return found


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
