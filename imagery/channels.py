"""Channels: what a model is fed, named and never counted.

A channel is a band of the scene, the elevation of its ground, the slope of that, or an index of two bands. Trap: the
code of Baraka et al. stores its three indices in an order other than its documentation says, which no one notices as
long as channels are numbers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError

INDICES: Final[Mapping[str, tuple[str, str]]] = {
    # (a, b) stands for (a - b) / (a + b).
    "ndvi": ("nir", "red"),  # vegetation: Rouse et al. 1974
    "ndsi": ("green", "swir1"),  # snow and ice: Hall, Riggs & Salomonson 1995
    # Open water: McFeeters 1996, as Baraka et al. write it. Their code computes (nir - swir1) / (nir + swir1), which is
    # Gao's (1996) vegetation-moisture index of the same name.
    "ndwi": ("green", "nir"),
}

ELEVATION: Final = "elevation"
"""Height of the ground in metres, from a digital elevation model."""
SLOPE: Final = "slope"
"""Steepness of the ground in degrees, worked out from elevation (see `imagery.terrain`)."""

_ETM_SPECTRAL: Final = ("blue", "green", "red", "nir", "swir1", "thermal_low", "thermal_high", "swir2")

CHANNEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    # Baraka et al., Appendix A: the ten bands of ETM+, three indices, elevation and slope.
    "baraka": (*_ETM_SPECTRAL, "pan", "quality", *INDICES, ELEVATION, SLOPE),
    # Aryal et al., Table 1.
    "aryal": _ETM_SPECTRAL,
    # He et al.: bands 6, 5 and 2 of OLI.
    "he": ("swir1", "nir", "blue"),
}
"""What the papers fed their networks, by paper."""


def named_channels(names: Sequence[str], band_names: Sequence[str]) -> tuple[str, ...]:
    """The channels that a choice stands for: those named, those of the one set that is named, or else all bands.

    Args:
        names: Channels, or one key of `CHANNEL_SETS`, or nothing.
        band_names: The bands to take where nothing is named.
    """
    if len(names) == 1 and names[0] in CHANNEL_SETS:
        return CHANNEL_SETS[names[0]]
    return tuple(names or band_names)


def available(band_names: Collection[str]) -> tuple[str, ...]:
    """Every channel that a scene with these bands can give.

    Args:
        band_names: The bands; elevation among them where it is known.

    Returns:
        The bands as listed, the indices they allow, and slope where there is elevation.
    """
    indices = (name for name, pair in INDICES.items() if set(pair) <= set(band_names))
    slope = (SLOPE,) if ELEVATION in band_names and SLOPE not in band_names else ()
    return (*band_names, *indices, *slope)


def bands_needed(channels: Iterable[str], band_names: Collection[str]) -> tuple[str, ...]:
    """The bands to read to compute the channels, each once, in the scene's order.

    Raises:
        SceneError: A channel is neither a band of the scene nor to be worked out from its bands.
    """
    known = available(band_names)
    needed: set[str] = set()
    for channel in channels:
        if channel not in known:
            raise SceneError(f"found the channel {channel!r}; expected one of {', '.join(known)}")
        needed.update(_made_of(channel) if channel not in band_names else {channel})
    return tuple(name for name in band_names if name in needed)


def _made_of(channel: str) -> tuple[str, ...]:
    return (ELEVATION,) if channel == SLOPE else INDICES[channel]


def normalised_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(a - b) / (a + b) for each pixel.

    Within -1 to 1 where both are non-negative, as digital numbers are; surface reflectance below zero can exceed it.

    Args:
        a: (H, W), NaN where invalid.
        b: (H, W), NaN where invalid.

    Returns:
        (H, W), NaN where either is invalid or their sum is 0.
    """
    total = a + b
    ratio: NDArray[np.float32] = np.full_like(total, np.nan)
    np.divide(a - b, total, out=ratio, where=total != 0)
    return ratio


def compute(channel: str, bands: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """One channel from the bands read (see `bands_needed`), (H, W), NaN where invalid.

    Slope must be among the bands: it depends on pixels around the window, which only the reader of a scene can get.
    """
    if channel in bands and channel not in INDICES:
        return bands[channel]
    first, second = INDICES[channel]
    return normalised_difference(bands[first], bands[second])
