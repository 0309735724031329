"""Look at some pixels of a scene before it is registered: how many have data, are cloud, and are possible values."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.quality import flags_of, impossible_numbers, raised
from imagery.scene_reader import SceneReader
from imagery.scene_source import QualityBand, SceneSource
from imagery.units import REFLECTANCE
from imagery.valid_pixels import check_has_data
from services.scene_summary import PixelShares

_SIDE_PX: Final = 512
_CLOUD: Final = "cloud"
# Reflectance is about 0 to 1; bright snow and cloud, lit from the side, reach 1.6 at the top of the atmosphere.
_HIGHEST: Final = 2.0
# Water and shade in the short-wave infrared are 0.005, but not in all bands of a whole scene.
_LOWEST_MEDIAN: Final = 0.001
# Ice, snow, cloud, bare rock or sunlit vegetation reach more in some band, in at least 1 % of a scene.
_LOWEST_BRIGHT: Final = 0.1
# More is no glint or saturation.
_MOST_BRIGHT: Final = 0.01
# The correction for the atmosphere makes dark pixels a little negative, but not half of a scene.
_MOST_NEGATIVE_MEDIAN: Final = -0.05
_LOWEST: Final = -0.3
_MOST_IMPOSSIBLE: Final = 0.001
# Fewer may be saturated, or cut off at zero by a correction for the atmosphere.
_MOST_ALIKE: Final = 0.001
_LEAST_BANDS: Final = 3
# Between stored integers, and above the rounding of their float32 values.
_SAME_NUMBER: Final = 0.05
# The gaps of Landsat 7 differ by up to 4 % from band to band.
_FAR_FEWER: Final = 0.1


def check_pixels(source: SceneSource) -> tuple[PixelShares, float | None, list[str]]:
    """Read a sample of at most 512 x 512 pixels of a scene.

    Returns:
        Shares of pixels; the share of cloud among those with data, None if no quality band tells; and doubts, also
        about further channels.

    Raises:
        SceneError: no pixel of the scene is usable, or bands that should hold reflectance or flags that mask hold other
            numbers.
    """
    decoded = [band for band in source.quality if band.table is not None]
    extras = [band.name for band in source.extras]
    names = [*source.band_names, *(band.name for band in decoded), *extras]
    unmasked = replace(source, quality=tuple(replace(band, masked=()) for band in source.quality))
    with SceneReader(unmasked) as reader:
        stack = reader.read_decimated(names, _SIDE_PX)
    bands, stored, further = np.split(stack, [len(source.bands), len(source.bands) + len(decoded)])
    has_data = ~np.isnan(bands).any(axis=0)
    masked = np.zeros_like(has_data)
    flags: dict[str, float] = {}
    doubts_of_flags: list[str] = []
    count = max(1, int(has_data.sum()))
    for band, numbers in zip(decoded, stored, strict=True):
        beyond = np.isnan(numbers)
        masked |= beyond & bool(band.masked)
        doubts_of_flags += _check_flag_numbers(band, numbers[~beyond])
        known = np.where(beyond, 0, numbers)
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
    doubts = [
        *doubts_of_flags,
        *_check_flags(decoded, flags),
        *_check_gaps(source, bands),
        *_check_reflectance(source, bands[:, usable]),
        *_check_fill(source, bands[:, usable]),
        *_check_extras(extras, further[:, usable]),
    ]
    return shares, shares.flags.get(_CLOUD), doubts


def _check_flag_numbers(band: QualityBand, numbers: NDArray[np.float32]) -> list[str]:
    """Refuse numbers that are not encoded as the flags of a band that masks; return a doubt if it masks nothing."""
    fault = impossible_numbers(numbers, str(band.table))
    if fault is None:
        return []
    found = f"{band.path}, band {band.index} ({band.name}): found {fault}"
    if not band.masked:
        return [f"{found}: its flags are not to be relied on"]
    raise SceneError(
        f"{found}: give the band as its provider stores it, declare its fill (gdal_edit.py -a_nodata), or mask none of "
        f"its flags, {', '.join(band.masked)} (--mask, 'masked')"
    )


def _check_flags(decoded: list[QualityBand], flags: dict[str, float]) -> list[str]:
    """Return a doubt about QA60 if it raises nothing and is all that tells of clouds.

    Earth Engine leaves it empty for some years (its catalog, COPERNICUS/S2_HARMONIZED, band QA60).
    """
    if [band.table for band in decoded] != ["sentinel-2-qa60"] or any(flags.values()):
        return []
    return [
        f"{decoded[0].name} marks no cloud at all; Earth Engine leaves it empty from 25 January 2022 to 28 February "
        "2024: if the image is of that time, export SCL or MSK_CLDPRB with it"
    ]


def _check_gaps(source: SceneSource, values: NDArray[np.float32]) -> list[str]:
    """Return a doubt about bands that lack many pixels that most other bands have."""
    known = ~np.isnan(values)
    usual = float(np.median(known.mean(axis=(1, 2))))
    fewer = {
        band.name: float(share)
        for band, share in zip(source.bands, known.mean(axis=(1, 2)), strict=True)
        if share < usual - _FAR_FEWER
    }
    if not fewer:
        return []
    listed = ", ".join(f"{name} on {100 * share:.3g} %" for name, share in fewer.items())
    return [
        f"most bands have data on {100 * usual:.3g} % of the scene, but {listed}: what one band lacks is unknown; "
        "check the extent of its file, or leave the band out"
    ]


def _check_reflectance(source: SceneSource, values: NDArray[np.float32]) -> list[str]:
    """Refuse numbers that are no reflectances, such as stored ones; return doubts about very dark ones."""
    if not values.size:
        return []
    medians = {
        band.name: float(np.median(pixels))
        for band, pixels in zip(source.bands, values, strict=True)
        if band.unit == REFLECTANCE
    }
    of_reflectance = [band.unit == REFLECTANCE for band in source.bands]
    reflectances = values[of_reflectance]
    reflectances = reflectances[~np.isnan(reflectances)]
    bright = {name: value for name, value in medians.items() if value > _HIGHEST}
    negative = {name: value for name, value in medians.items() if value < _MOST_NEGATIVE_MEDIAN}
    if bright or negative:
        listed = ", ".join(f"{value:.4g} in {name}" for name, value in (bright or negative).items())
        raise SceneError(
            f"found median values of {listed}; expected reflectance, 0 to 1: give the product as downloaded, whose "
            "metadata state scale and offset, or tag the files (gdal_edit.py -scale -offset)"
        )
    beyond = {
        band.name: share
        for band, pixels in zip(source.bands, values, strict=True)
        if band.unit == REFLECTANCE
        and (share := float(((pixels > _HIGHEST) | (pixels < _LOWEST)).mean())) > _MOST_IMPOSSIBLE
    }
    if beyond:
        listed = ", ".join(f"{100 * share:.2g} % in {name}" for name, share in beyond.items())
        too_bright = float((reflectances > _HIGHEST).mean()) > _MOST_BRIGHT
        other = (
            "; otherwise check the scale: the Copernicus Browser stores reflectance x 65535 in 16 bits (gdal_edit.py "
            "-scale 0.0000152590)"
        )
        return [
            f"reflectance is below {_LOWEST} or above {_HIGHEST:g} on some usable pixels ({listed}): if they are "
            f"fill, state its stored number (--nodata, 'nodata'){other if too_bright else ''}"
        ]
    if medians and max(medians.values()) < _LOWEST_MEDIAN:
        return [f"all bands are darker than {_LOWEST_MEDIAN} in the median: are they scaled twice?"]
    if reflectances.size and (high := float(np.quantile(reflectances, 0.99))) < _LOWEST_BRIGHT:
        return [
            f"99 % of the reflectances of all bands lie below {high:.2g}; expected some above {_LOWEST_BRIGHT}, as of "
            "ice, snow, rock or vegetation: check the scale; numbers in per cent, for example, are x 0.01 "
            "(gdal_edit.py -scale 0.01)"
        ]
    return []


def _check_fill(source: SceneSource, values: NDArray[np.float32]) -> list[str]:
    """Return a doubt about usable pixels that are stored as one number in all bands, as fill is and ground is not."""
    resampled = {item.path for item in source.resampled}
    kept = [(band, pixels) for band, pixels in zip(source.bands, values, strict=True) if band.path not in resampled]
    if len(kept) < _LEAST_BANDS or not values.size:
        return []
    stored = np.stack([(pixels.astype(np.float64) - band.offset) / band.scale for band, pixels in kept])
    tolerance = 0.0 if all(band.scale == 1 for band, _ in kept) else _SAME_NUMBER
    alike = stored[0][np.ptp(stored, axis=0) <= tolerance]
    if tolerance:
        alike = alike.round()
    numbers, counts = np.unique(alike, return_counts=True)
    shares = counts / values.shape[1]
    return [
        f"{100 * share:.2g} % of the usable pixels are stored as {number:.6g} in all bands: if they are fill, state "
        f"the number (--nodata {number:.6g}, 'nodata')"
        for number, share in zip(numbers, shares, strict=True)
        if share > _MOST_ALIKE
    ]


def _check_extras(names: list[str], values: NDArray[np.float32]) -> list[str]:
    """Return doubts about further channels that cover only a part of what is usable."""
    if not values.size:
        return []
    shares = {name: float((~np.isnan(pixels)).mean()) for name, pixels in zip(names, values, strict=True)}
    return [
        f"{name}: has data on {100 * share:.3g} % of the usable pixels; a network is given its mean on the rest"
        for name, share in shares.items()
        if share < 1 - _FAR_FEWER
    ]


def _rounded(share: float) -> float:
    return round(float(share), 4)
