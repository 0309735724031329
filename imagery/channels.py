"""Channels: the inputs of a model, known by name and never by number.

A channel is a band of the scene, elevation, slope, or a spectral index of two bands. Names matter: the code of Baraka
et al. stores its three indices in another order than its documentation says, which nobody notices as long as channels
are numbers.
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
"""Elevation of the Earth's surface in metres, from a digital elevation model."""
SLOPE: Final = "slope"
"""Slope of the Earth's surface in degrees, computed from elevation (see `imagery.terrain`)."""

_ETM_SPECTRAL: Final = ("blue", "green", "red", "nir", "swir1", "thermal_low", "thermal_high", "swir2")

CHANNEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    # Baraka et al., Appendix A: the ten bands of ETM+, three indices, elevation and slope.
    "baraka": (*_ETM_SPECTRAL, "pan", "quality", *INDICES, ELEVATION, SLOPE),
    # Aryal et al., Table 1.
    "aryal": _ETM_SPECTRAL,
    # He et al.: bands 6, 5 and 2 of OLI.
    "he": ("swir1", "nir", "blue"),
}
"""The input channels of the papers' networks, by paper."""


def named_channels(names: Sequence[str], band_names: Sequence[str]) -> tuple[str, ...]:
    """Return the channels that a user's choice means: those named, those of the named set, or all bands.

    Args:
        names: Channels, or one key of `CHANNEL_SETS`, or nothing.
        band_names: The bands, returned if nothing is named.
    """
    if len(names) == 1 and names[0] in CHANNEL_SETS:
        return CHANNEL_SETS[names[0]]
    return tuple(names or band_names)


def available_channels(band_names: Collection[str]) -> tuple[str, ...]:
    """Return every channel that can be computed from these bands.

    Args:
        band_names: The bands; elevation among them if it is known.

    Returns:
        The bands as listed, the indices whose bands are there, and slope if there is elevation.
    """
    indices = (name for name, pair in INDICES.items() if set(pair) <= set(band_names))
    slope = (SLOPE,) if ELEVATION in band_names and SLOPE not in band_names else ()
    return (*band_names, *indices, *slope)


def bands_needed(channels: Iterable[str], band_names: Collection[str]) -> tuple[str, ...]:
    """Return the bands from which the channels are computed, each once, in the scene's order.

    Raises:
        SceneError: A channel is neither a band of the scene nor computable from its bands.
    """
    known = available_channels(band_names)
    needed: set[str] = set()
    for channel in channels:
        if channel not in known:
            raise SceneError(f"found the channel {channel!r}; expected one of {', '.join(known)}")
        needed.update(_inputs_of(channel) if channel not in band_names else {channel})
    return tuple(name for name in band_names if name in needed)


def _inputs_of(channel: str) -> tuple[str, ...]:
    return (ELEVATION,) if channel == SLOPE else INDICES[channel]


def normalised_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute (a - b) / (a + b) for each pixel.

    The result lies within -1 to 1 if both are non-negative, as digital numbers are; it can exceed that range where
    surface reflectance is negative.

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


def compute_channel(channel: str, bands: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Compute one channel from the bands read (see `bands_needed`); returns (H, W), NaN where invalid.

    Slope must be among the bands: it depends on pixels around the window, which only `SceneReader` can read.
    """
    if channel in bands and channel not in INDICES:
        return bands[channel]
    first, second = INDICES[channel]
    return normalised_difference(bands[first], bands[second])
