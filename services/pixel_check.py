"""Look at some pixels of a scene before it is registered: how many have data, are cloud, and are possible values."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.quality import flags_of, raised
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.units import REFLECTANCE
from imagery.valid_pixels import check_has_data
from services.scene_summary import PixelShares

_SIDE_PX: Final = 512
_CLOUD: Final = "cloud"
# Reflectance is about 0 to 1; bright snow and cloud, lit from the side, reach 1.6 at the top of the atmosphere.
_HIGHEST_MEDIAN: Final = 2.0
# Water and shade in the short-wave infrared are 0.005, but not in all bands of a whole scene.
_LOWEST_MEDIAN: Final = 0.001


def check_pixels(source: SceneSource) -> tuple[PixelShares, float | None, list[str]]:
    """Read a sample of at most 512 x 512 pixels of a scene.

    Returns:
        Shares of pixels; the share of cloud among those with data, None if no quality band tells; and doubts.

    Raises:
        SceneError: no pixel of the scene is usable, or bands that should hold reflectance hold other numbers.
    """
    decoded = [band for band in source.quality if band.table is not None]
    names = [*source.band_names, *(band.name for band in decoded)]
    unmasked = replace(source, quality=tuple(replace(band, masked=()) for band in source.quality))
    with SceneReader(unmasked) as reader:
        stack = reader.read_decimated(names, _SIDE_PX)
    bands, stored = stack[: len(source.bands)], stack[len(source.bands) :]
    has_data = ~np.isnan(bands).any(axis=0)
    masked = np.zeros_like(has_data)
    flags: dict[str, float] = {}
    count = max(1, int(has_data.sum()))
    for band, numbers in zip(decoded, stored, strict=True):
        beyond = np.isnan(numbers)
        masked |= beyond & bool(band.masked)
        known = np.where(beyond, 0, numbers).astype(np.int64)
        for flag in flags_of(str(band.table)):
            found = raised(known, str(band.table), flag) & ~beyond
            masked |= found & (flag in band.masked)
            flags[flag] = max(flags.get(flag, 0.0), float((found & has_data).sum() / count))
    usable = has_data & ~masked
    if not usable.any():
        check_has_data(source)
    shares = PixelShares(
        no_data=_rounded(1 - has_data.mean()),
        flags={name: _rounded(share) for name, share in flags.items()},
        usable=_rounded(usable.mean()),
    )
    doubts = _check_reflectance(source, bands[:, usable])
    return shares, shares.flags.get(_CLOUD), doubts


def _check_reflectance(source: SceneSource, values: NDArray[np.float32]) -> list[str]:
    """Refuse numbers that are no reflectances, such as stored ones; return doubts about very dark ones."""
    if not values.size:
        return []
    medians = {
        band.name: float(np.median(pixels))
        for band, pixels in zip(source.bands, values, strict=True)
        if band.unit == REFLECTANCE
    }
    bright = {name: value for name, value in medians.items() if value > _HIGHEST_MEDIAN}
    if bright:
        listed = ", ".join(f"{value:.4g} in {name}" for name, value in bright.items())
        raise SceneError(
            f"found median values of {listed}; expected reflectance, 0 to 1: give the product as downloaded, whose "
            "metadata state scale and offset, or tag the files (gdal_edit.py -scale -offset)"
        )
    if medians and max(medians.values()) < _LOWEST_MEDIAN:
        return [f"all bands are darker than {_LOWEST_MEDIAN} in the median: are they scaled twice?"]
    return []


def _rounded(share: float) -> float:
    return round(float(share), 4)
