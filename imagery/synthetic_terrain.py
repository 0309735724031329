"""Synthetic terrain: fractal relief with glacial valleys, its slope and aspect, and cast shadows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.synthetic_noise import Coordinates, fractal, smooth

PIXEL_M: Final = 30.0
_BASE_M: Final = 5000.0  # the middle of the valley floors, as around Mount Everest
_TREND_M: Final = 450.0
_MOUNTAINS_M: Final = 900.0
_RIDGES_M: Final = 550.0
_ROUGHNESS_M: Final = 110.0
_FLOOR: Final = 0.3  # valleys follow the zero lines of a noise field; below this they are flat
HIGHEST_RIDGE_M: Final = 2000.0
"""Maximum height of a ridge above the terrain in its shadow: mountain, ridge, two to three standard deviations of
roughness."""

Heights = Callable[[Coordinates, Coordinates], NDArray[np.float64]]
"""Returns the elevation (h, w) in metres at rows (h,) and columns (w,)."""


@dataclass(frozen=True)
class Sun:
    """Position of the sun.

    Attributes:
        azimuth_deg: Clockwise from north.
        elevation_deg: Above the horizon.

    Raises:
        SceneError: An angle is not finite.
    """

    azimuth_deg: float
    elevation_deg: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.azimuth_deg) and math.isfinite(self.elevation_deg)):
            raise SceneError(f"found {self}; expected finite angles in degrees")


@dataclass(frozen=True)
class Terrain:
    """Terrain at rows and columns of a scene; every array is (h, w).

    Attributes:
        elevation_m: Elevation above sea level.
        valley: Height above the valley floor as a share of the ridges' height: 0 on the floor, nearly 1 on ridges.
        slope_deg: 0 to 90, from central differences over one pixel to each side.
        east: Slope component dz/dx towards the east (rise over run).
        north: Slope component dz/dy towards the north (rise over run).
    """

    elevation_m: NDArray[np.float64]
    valley: NDArray[np.float64]
    slope_deg: NDArray[np.float64]
    east: NDArray[np.float64]
    north: NDArray[np.float64]

    @property
    def northness(self) -> NDArray[np.float64]:
        """How far the slope faces north, -1 to 1: sine of the slope times cosine of the aspect; 0 where level."""
        return np.asarray(-self.north / np.sqrt(1 + self.east**2 + self.north**2))


def terrain(seed: int, rows: Coordinates, cols: Coordinates) -> Terrain:
    """Compute the terrain at rows x cols, which need not be consecutive."""
    elevation_m, valley = _relief(seed, rows, cols)
    east = (elevation(seed, rows, cols + 1) - elevation(seed, rows, cols - 1)) / (2 * PIXEL_M)
    north = (elevation(seed, rows - 1, cols) - elevation(seed, rows + 1, cols)) / (2 * PIXEL_M)
    return Terrain(elevation_m, valley, np.degrees(np.arctan(np.hypot(east, north))), east, north)


def elevation(seed: int, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
    """Compute the elevation above sea level, (h, w) metres."""
    return _relief(seed, rows, cols)[0]


def incidence(relief: Terrain, sun: Sun) -> NDArray[np.float64]:
    """Compute the cosine of the angle between sun and surface normal, (h, w); 0 where the surface faces away."""
    azimuth, height = math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)
    towards_sun = relief.east * math.sin(azimuth) + relief.north * math.cos(azimuth)
    cosine = (math.sin(height) - math.cos(height) * towards_sun) / np.sqrt(1 + relief.east**2 + relief.north**2)
    return np.asarray(np.maximum(cosine, 0.0))


def cast_shadow(
    heights: Heights, highest_ridge_m: float, rows: NDArray[np.int64], cols: NDArray[np.int64], sun: Sun
) -> NDArray[np.bool_]:
    """Return where other terrain hides the sun, (h, w).

    Follows the ray from every pixel towards the sun in steps of one pixel (nearest pixel), as far as ridges can cast a
    shadow.

    Args:
        heights: Elevation of the terrain, also outside of the rows and columns.
        highest_ridge_m: Maximum height of a ridge above the terrain in its shadow.
        rows: (h,) consecutive rows.
        cols: (w,) consecutive columns.
        sun: Its elevation and the height of the ridges determine the length of the ray.
    """
    azimuth, rise_m = math.radians(sun.azimuth_deg), PIXEL_M * math.tan(math.radians(sun.elevation_deg))
    reach = math.ceil(highest_ridge_m / rise_m)
    around = heights(_extended(rows, reach), _extended(cols, reach)).astype(np.float32)
    height, width = len(rows), len(cols)
    horizon = np.full((height, width), -np.inf, dtype=np.float32)
    for step in range(1, reach + 1):
        top = reach - round(step * math.cos(azimuth))
        left = reach + round(step * math.sin(azimuth))
        there = around[top : top + height, left : left + width]
        np.maximum(horizon, there - np.float32(step * rise_m), out=horizon)
    return np.asarray(horizon > around[reach : reach + height, reach : reach + width])


def _relief(seed: int, rows: Coordinates, cols: Coordinates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return elevation and height above the valley floor (`Terrain.elevation_m`, `Terrain.valley`)."""
    across = np.abs(fractal(seed, "valleys", rows, cols, 256, 2))
    valley = 1 - np.exp(-1.1 * np.maximum(across - _FLOOR, 0.0) ** 1.2)
    trend_m = _BASE_M + _TREND_M * smooth(seed, "trend", rows, cols, 480)
    ridge = np.maximum(1 - np.abs(fractal(seed, "ridges", rows, cols, 128, 3)), -1)
    # Multifractal: mountains are rough, and valley floors smooth, since glaciers eroded them.
    rough_m = _ROUGHNESS_M * (0.06 + valley) * fractal(seed, "roughness", rows, cols, 40, 4)
    return trend_m + _MOUNTAINS_M * valley + _RIDGES_M * valley * ridge + rough_m, valley


def _extended(at: NDArray[np.int64], by: int) -> Coordinates:
    return np.arange(at[0] - by, at[-1] + by + 1, dtype=np.float64)
