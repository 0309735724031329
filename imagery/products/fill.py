"""Numbers that mark missing pixels in files that do not declare them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from imagery.grid import Window
from imagery.products.bundle import Located
from imagery.raster_file import open_raster, read_window
from imagery.stored_numbers import spread, void_numbers

# Fewer may be shadows that an atmospheric correction has cut off at zero.
_LEAST_SHARE: Final = 0.001


def undeclared_fill(bands: Sequence[Located], *, zero: bool) -> tuple[dict[Located, float], list[str]]:
    """Find fill in bands whose files declare neither a nodata value nor a mask, from at most 4 million pixels of each.

    * -9999, -32768 and the like (`imagery.stored_numbers.VOID_NUMBERS`) are fill in the band that holds them.
    * With `zero`, 0 is, if at least 0.1 % of the pixels are 0 in all bands: the ground is not black in every colour.

    Args:
        bands: Measurements, not flags.
        zero: Whether to look for zeros; not if the fill of the sensor is known.

    Returns:
        The fill of each band that has some, and notes.

    Raises:
        SceneError: Pixels cannot be read.
    """
    pixels = {item: found for item in bands if (found := _sample(item)) is not None}
    fill: dict[Located, float] = {}
    for item, numbers in pixels.items():
        if voids := void_numbers(numbers):
            fill[item] = max(voids, key=lambda void: int((numbers == void).sum()))
    notes = [
        f"{item.path}, band {item.index}: {100 * (pixels[item] == number).mean():.2g} % of its pixels are {number:g}: "
        "taken as no data, which the file does not declare"
        for item, number in fill.items()
    ]
    sizes = Counter(numbers.size for numbers in pixels.values())
    if zero and len(pixels) == len(bands) and not fill and sizes and sizes.most_common(1)[0][1] > 1:
        alike = [numbers for numbers in pixels.values() if numbers.size == sizes.most_common(1)[0][0]]
        black = float(np.all([numbers == 0 for numbers in alike], axis=0).mean())
        if _LEAST_SHARE <= black < 1:
            fill = dict.fromkeys(bands, 0.0)
            notes = [
                f"{100 * black:.2g} % of the pixels are 0 in all bands: 0 is taken as no data, which no file declares; "
                "if it is ground, declare another number (gdal_edit.py -a_nodata)"
            ]
    return fill, notes


def _sample(item: Located) -> NDArray[Any] | None:
    """Return stored numbers of a band, (n,); None if its file declares what is missing."""
    with open_raster(item.path) as dataset:
        if dataset.mask_flag_enums[item.index - 1] != [MaskFlags.all_valid]:
            return None
        windows = spread(Window(0, 0, dataset.height, dataset.width))
        numbers: NDArray[Any] = np.concatenate(
            [read_window(dataset, [item.index], window).ravel() for window in windows]
        )
        return numbers
