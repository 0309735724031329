"""Synthetic radiometry of Landsat 7: reflected light, surface temperature, digital numbers.

Spectra are typical values, not measurements: snow is bright but dark beyond 1.4 micrometres, ice is darker, water is
dark, and cloud is bright in all bands. Debris is nearly as bright as the rock that it fell from: only topography and
temperature distinguish them.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.synthetic_noise import Coordinates, fractal, white
from imagery.synthetic_surface import Cover

REFLECTIVE: Final = ("blue", "green", "red", "nir", "swir1", "swir2", "pan")
"""Bands of reflected light, in the order of the spectra below."""

_SNOW: Final = np.array([0.90, 0.88, 0.86, 0.78, 0.12, 0.08, 0.84])
_BARE_ICE: Final = np.array([0.56, 0.56, 0.50, 0.38, 0.06, 0.04, 0.49])
_ROCK: Final = np.array([0.130, 0.155, 0.180, 0.220, 0.270, 0.230, 0.175])
_DEBRIS: Final = np.array([0.133, 0.158, 0.180, 0.214, 0.255, 0.215, 0.175])
_GRASS: Final = np.array([0.050, 0.080, 0.070, 0.260, 0.190, 0.100, 0.110])
_WATER: Final = np.array([0.100, 0.110, 0.070, 0.030, 0.010, 0.010, 0.080])
_CLOUD: Final = np.array([0.75, 0.74, 0.75, 0.76, 0.60, 0.48, 0.75])
# Skylight as a share of sunlight. It is blue, so ice in shadow looks blue.
_SKYLIGHT: Final = np.array([0.22, 0.14, 0.10, 0.06, 0.02, 0.015, 0.11])
_HAZE_DN: Final = np.array([38, 26, 20, 12, 6, 5, 18])
# Bright snow saturates the visible bands at high gain, as in most scenes of mountains.
_GAIN_DN: Final = np.array([270, 270, 280, 250, 420, 430, 270])
_NOISE_DN: Final = 1.6

_LAPSE_K_PER_M: Final = 0.0065
_AIR_AT_REFERENCE_K: Final = 275.0
_SOLAR_WARMING_K: Final = 16.0
_DEBRIS_COOLING_K: Final = 4.0  # ice cools a thin layer of debris above it
_STONE_VARIATION_K: Final = 2.0  # depending on colour, moisture and size
_CLOUD_TOP_K: Final = 250.0
_MELTING_K: Final = 273.15
# Range of the thermal band at its two gains (Landsat 7 Science Data Users Handbook).
THERMAL_RANGE_K: Final = {"thermal_low": (130.0, 350.0), "thermal_high": (240.0, 320.0)}


def snow_off_ice(
    seed: int, above_snow_line_m: NDArray[np.float64], rows: Coordinates, cols: Coordinates
) -> NDArray[np.float64]:
    """Compute the share of each pixel covered by fresh snow outside the glaciers, (h, w): more of it higher up."""
    patches = fractal(seed, "patches", rows, cols, 24, 3)
    return np.clip(1.5 * (patches - 0.3) + above_snow_line_m / 400, 0, 1)


def reflectance(
    seed: int,
    above_snow_line_m: NDArray[np.float64],
    cover: Cover,
    snow: NDArray[np.float64],
    rows: Coordinates,
    cols: Coordinates,
) -> NDArray[np.float64]:
    """Compute the reflectance of the surface without cloud, (h, w, 7) in the order of `REFLECTIVE`.

    Fresh snow also covers rock below the snow line, as bright as on the glaciers: only its shape and position
    distinguish it. On glaciers, fresh snow gives way to bare, dirty ice towards the snow line.
    """
    above_m = above_snow_line_m
    texture = fractal(seed, "texture", rows, cols, 12, 3)
    patches = fractal(seed, "patches", rows, cols, 24, 3)
    grass = np.clip((-above_m - 500) / 300, 0, 0.9) * np.clip(0.6 + 0.5 * patches, 0, 1)
    dirt = np.clip(0.45 - above_m / 250 + 0.25 * texture, 0, 0.9)

    rock = _blend(_ROCK * np.exp(0.22 * texture)[..., None], _GRASS, grass)
    bare = _blend(rock, _SNOW, snow)
    ice = _blend(_blend(_BARE_ICE, _SNOW, np.clip(above_m / 250, 0, 1)), _DEBRIS, dirt)
    stones = _blend(_DEBRIS * np.exp(0.22 * texture)[..., None], _BARE_ICE, np.clip(0.2 * (patches - 1.2), 0, 0.5))
    kinds = [cover.ice[..., None], cover.debris[..., None], cover.lake[..., None]]
    return np.asarray(np.select(kinds, [ice, stones, np.broadcast_to(_WATER, ice.shape)], bare))


def reflective_numbers(
    seed: int,
    surface: NDArray[np.float64],
    sunlight: NDArray[np.float64],
    cloud: NDArray[np.float64],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Compute the digital numbers of the reflective bands.

    Args:
        seed: For the sensor's noise.
        surface: (h, w, 7) reflectance.
        sunlight: (h, w) direct sunlight as a share of that at normal incidence; 0 in shadow.
        cloud: (h, w) opacity of cloud, 0 to 1.
        rows: (h,) rows.
        cols: (w,) columns.

    Returns:
        (7, h, w), 1 to 255; 0 is reserved for nodata.
    """
    radiance = _blend(surface * (sunlight[..., None] + _SKYLIGHT), _CLOUD, cloud)
    numbers = np.moveaxis(_HAZE_DN + _GAIN_DN * radiance, -1, 0)
    noise = np.stack([white(seed, f"noise/{band}", rows, cols) for band in REFLECTIVE])
    return np.clip(np.rint(numbers + _NOISE_DN * noise), 1, 255).astype(np.uint8)


def temperature(
    seed: int,
    elevation_m: NDArray[np.float64],
    reference_m: float,
    cover: Cover,
    snow: NDArray[np.float64],
    sunlight: NDArray[np.float64],
    cloud: NDArray[np.float64],
    rows: Coordinates,
    cols: Coordinates,
) -> NDArray[np.float64]:
    """Compute the surface temperature, (h, w) kelvin.

    Air has 275 K at the elevation `reference_m` and cools above it, the sun warms stones, snow and ice are at most at
    the melting point, and debris is in between.
    """
    air = _AIR_AT_REFERENCE_K - _LAPSE_K_PER_M * (elevation_m - reference_m)
    stones = air + _SOLAR_WARMING_K * sunlight + _STONE_VARIATION_K * fractal(seed, "warmth", rows, cols, 20, 2)
    kinds = [cover.ice, cover.debris, cover.lake]
    # Under thick debris the ice is invisible even in the thermal band.
    cooling = _DEBRIS_COOLING_K * np.clip(0.5 + 0.6 * fractal(seed, "thickness", rows, cols, 24, 2), 0, 1)
    cold = np.minimum(air, _MELTING_K)
    bare = stones + snow * (cold - stones)
    surface = np.select(kinds, [cold, stones - cooling, np.maximum(air, 275.0)], bare)
    return np.asarray(surface + cloud * (_CLOUD_TOP_K - surface))


def thermal_numbers(
    seed: int, kelvin: NDArray[np.float64], rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Compute the thermal band's digital numbers at both gains, (2, h, w), 1 to 255, low gain first."""
    noisy = kelvin + 0.25 * white(seed, "noise/thermal", rows, cols)
    scaled = [(noisy - low) / (high - low) for low, high in THERMAL_RANGE_K.values()]
    return np.clip(np.rint(1 + 254 * np.stack(scaled)), 1, 255).astype(np.uint8)


def _blend(below: NDArray[np.float64], above: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(below + share[..., None] * (above - below))
