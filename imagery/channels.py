"""Channels: the inputs of a model, known by name and never by number.

A channel is a band of the scene or a further raster, elevation, a measure of the terrain, or a spectral index of two
bands. Names matter: the code of Baraka et al. stores its three indices in another order than its documentation says,
which nobody notices as long as channels are numbers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.units import DEGREE, DIMENSIONLESS, METRE, PER_METRE

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
CURVATURE: Final = "curvature"
RUGGEDNESS: Final = "ruggedness"
ASPECT_SIN: Final = "aspect_sin"
ASPECT_COS: Final = "aspect_cos"

TERRAIN_UNITS: Final[Mapping[str, str]] = {
    SLOPE: DEGREE,
    CURVATURE: PER_METRE,
    RUGGEDNESS: METRE,
    ASPECT_SIN: DIMENSIONLESS,
    ASPECT_COS: DIMENSIONLESS,
}
"""The channels that are computed from elevation (see `imagery.terrain`), with their units."""
FURTHER_TERRAIN: Final = (CURVATURE, RUGGEDNESS, ASPECT_SIN, ASPECT_COS)
"""Those that none of the papers feeds to its network."""

_OPTICAL: Final = ("blue", "green", "red", "nir", "swir1", "swir2")
_ETM_SPECTRAL: Final = ("blue", "green", "red", "nir", "swir1", "thermal_low", "thermal_high", "swir2")

CHANNEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    # Baraka et al., Appendix A: the ten bands of ETM+, three indices, elevation and slope.
    "baraka": (*_ETM_SPECTRAL, "pan", "quality", *INDICES, ELEVATION, SLOPE),
    # Aryal et al., Table 1.
    "aryal": _ETM_SPECTRAL,
    # He et al.: bands 6, 5 and 2 of OLI.
    "he": ("swir1", "nir", "blue"),
    # Maslov et al. 2025, Globally scalable glacier mapping by deep learning matches expert delineation accuracy, Nature
    # Communications 16 (arXiv:2401.15113): GlaViTU's optical bands, of top-of-atmosphere reflectance, and its relief.
    "glavitu": (*_OPTICAL, ELEVATION, SLOPE),
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
        The bands as listed, the indices whose bands are there, and the measures of the terrain if there is elevation.
    """
    indices = (name for name, pair in INDICES.items() if set(pair) <= set(band_names))
    terrain = (name for name in TERRAIN_UNITS if ELEVATION in band_names and name not in band_names)
    return (*band_names, *indices, *terrain)


def recorded(channels: Iterable[str]) -> tuple[str, ...]:
    """Return the channels that a sensor recorded: neither elevation nor computed from others."""
    return tuple(name for name in channels if name not in {ELEVATION, *TERRAIN_UNITS, *INDICES})


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
    return (ELEVATION,) if channel in TERRAIN_UNITS else INDICES[channel]


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

    Measures of the terrain must be among the bands: they depend on pixels around the window, and are computed on the
    grid of the elevation (see `imagery.elevation`).
    """
    if channel in bands and channel not in INDICES:
        return bands[channel]
    first, second = INDICES[channel]
    return normalised_difference(bands[first], bands[second])
