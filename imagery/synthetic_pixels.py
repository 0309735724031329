"""The pixels of a window of a synthetic scene, computed only from seed and position."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window
from imagery.synthetic_ground import FractalGround, Ground
from imagery.synthetic_radiometry import reflectance, reflective_numbers, snow_off_ice, temperature, thermal_numbers
from imagery.synthetic_surface import Shares, cloud_score, cloud_threshold, label_mask, scan_gaps
from imagery.synthetic_terrain import PIXEL_M, Sun, cast_shadow, incidence

FILL: Final = 0
"""Digital number of a pixel that was not recorded."""

# Values of the quality band of Landsat 4 to 7 in USGS Collection 1.
QUALITY_FILL: Final = 1
QUALITY_CLEAR: Final = 672
QUALITY_CLOUD: Final = 752
QUALITY_CLOUD_SHADOW: Final = 928

_SMALLEST_SIDE_PX: Final = 128
_LOWEST_SUN_DEG: Final = 15.0
_CLOUD_ABOVE_GROUND_M: Final = 1200.0
_LIGHT_THROUGH_CLOUD: Final = 0.25


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of a synthetic scene.

    Attributes:
        shares: Class shares of the pixels outside scan gaps.
        lake_share: Share of lakes, which are background.
        sun: Position of the sun; by default as in the Everest scene of 30 October 2000, mid-morning.
        scan_gaps: Whether to add the wedges without data of Landsat 7 after its scan line corrector failed; they are
            masked/unknown in the truth.
        dem_resolution_m: Pixel size of the DEM in metres.
        origin_m: Easting and northing (EPSG:32645) of the outer corner of the first pixel. Scenes that must not overlap
            need different ones.
        block_px: Side of the blocks in which the scene is computed; an even number. Affects memory and time, but
            no pixel value.
    """

    shares: Shares = field(default_factory=Shares)
    lake_share: float = 0.006
    sun: Sun = field(default_factory=lambda: Sun(azimuth_deg=152.0, elevation_deg=43.0))
    scan_gaps: bool = False
    dem_resolution_m: float = 30.0
    origin_m: tuple[float, float] = (480000.0, 3110400.0)
    block_px: int = 512

    def __post_init__(self) -> None:
        parts = (self.shares.clean_ice, self.shares.debris_covered_ice, self.shares.masked, self.lake_share)
        if not (min(parts) >= 0 and sum(parts) < 1):  # written so that NaN is refused too
            raise SceneError(f"found the shares {parts}; expected none below 0 and a sum below 1")
        if not _LOWEST_SUN_DEG <= self.sun.elevation_deg <= 90:
            raise SceneError(f"found {self.sun}; expected the sun at {_LOWEST_SUN_DEG:g} to 90 degrees")
        if self.block_px < 2 or self.block_px % 2:
            raise SceneError(f"found blocks of {self.block_px} px; expected an even number, at least 2")
        if not self.dem_resolution_m > 0:
            raise SceneError(f"found a DEM resolution of {self.dem_resolution_m} m; expected more than 0")


@dataclass(frozen=True)
class Pixels:
    """The pixels of a window of a scene.

    Attributes:
        reflective: (7, h, w) uint8 in the order of `imagery.synthetic_radiometry.REFLECTIVE`, `FILL` in gaps.
        thermal: (2, h / 2, w / 2) uint8 on 60 m pixels, low gain first, `FILL` where all four pixels are gaps.
        quality: (h, w) uint16, the values `QUALITY_...`.
        truth: (h, w) label mask.
        shadow: (h, w), where other terrain hides the sun.
    """

    reflective: NDArray[np.uint8]
    thermal: NDArray[np.uint8]
    quality: NDArray[np.uint16]
    truth: NDArray[np.uint8]
    shadow: NDArray[np.bool_]


class Landscape:
    """A synthetic scene of which any window can be computed."""

    def __init__(
        self, height: int, width: int, seed: int, options: SyntheticOptions, ground: Ground | None = None
    ) -> None:
        """Calibrate a scene of (height, width) pixels of 30 m, on made-up ground if none is given.

        Raises:
            SceneError: A side is shorter than 128 pixels, or the seed is not in 0 to 2^32 - 1.
        """
        if min(height, width) < _SMALLEST_SIDE_PX:
            raise SceneError(f"found {height} x {width} px; expected sides of at least {_SMALLEST_SIDE_PX}")
        if not 0 <= seed < 1 << 32:
            raise SceneError(f"found the seed {seed}; expected 0 to 2^32 - 1")
        self.height, self.width, self.seed, self.options = height, width, seed, options
        self.ground: Ground = ground or FractalGround(seed, height, width, options.shares, options.lake_share)
        self._cloud_from = cloud_threshold(seed, height, width, options.shares.masked)

    def pixels(self, window: Window) -> Pixels:
        """Compute the pixels of a window, which may extend beyond the scene: the landscape continues there.

        Args:
            window: Its offsets and sides are even, so that it contains whole 60 m pixels.
        """
        seed, sun = self.seed, self.options.sun
        rows = np.arange(window.row_off, window.row_off + window.height)
        cols = np.arange(window.col_off, window.col_off + window.width)
        at = rows.astype(np.float64), cols.astype(np.float64)
        ground, found = self.ground, self.ground.surface(*at)
        cover, above_m = found.cover, found.above_snow_line_m
        cloud = self._opacity(cloud_score(seed, *at))
        cloud_shadow = self._cloud_shadow(*at)
        shadow = cast_shadow(ground.heights, ground.highest_ridge_m, rows, cols, sun)
        sunlight = incidence(found.relief, sun) * ~shadow * (1 - (1 - _LIGHT_THROUGH_CLOUD) * cloud_shadow)
        gaps = self._gaps(rows, cols)

        snow = snow_off_ice(seed, above_m, *at)
        surface = reflectance(seed, above_m, cover, snow, *at)
        reflective = reflective_numbers(seed, surface, sunlight, cloud, rows, cols)
        reflective[:, gaps] = FILL
        heights_m, reference_m = found.relief.elevation_m, ground.reference_m
        kelvin = temperature(seed, heights_m, reference_m, cover, snow, sunlight, cloud, *at)
        thermal = self._thermal(kelvin, gaps, rows, cols)
        quality = np.select(
            [gaps, cloud > 0, cloud_shadow], [QUALITY_FILL, QUALITY_CLOUD, QUALITY_CLOUD_SHADOW], QUALITY_CLEAR
        )
        truth = label_mask(cover, gaps | found.unknown | (cloud > 0))
        return Pixels(reflective, thermal, quality.astype(np.uint16), truth, shadow)

    def _opacity(self, cloud: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the opacity of cloud, 0 to 1: thin at the edge, opaque inside."""
        above = cloud - self._cloud_from
        return np.where(above > 0, np.clip(0.4 + 3 * above, 0, 1), 0.0)

    def _cloud_shadow(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.bool_]:
        sun = self.options.sun
        away_px = _CLOUD_ABOVE_GROUND_M / math.tan(math.radians(sun.elevation_deg)) / PIXEL_M
        azimuth = math.radians(sun.azimuth_deg)
        towards_sun = rows - away_px * math.cos(azimuth), cols + away_px * math.sin(azimuth)
        return cloud_score(self.seed, *towards_sun) > self._cloud_from

    def _gaps(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.options.scan_gaps:
            return scan_gaps(rows, cols, self.width)
        return np.zeros((len(rows), len(cols)), dtype=np.bool_)

    def _thermal(
        self, kelvin: NDArray[np.float64], gaps: NDArray[np.bool_], rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Average the valid pixels inside each 60 m pixel, then convert to digital numbers."""
        valid_pixels = _split_2x2(~gaps).sum(axis=(1, 3))
        mean_kelvin = _split_2x2(np.where(gaps, 0.0, kelvin)).sum(axis=(1, 3)) / np.maximum(valid_pixels, 1)
        numbers = thermal_numbers(self.seed, mean_kelvin, rows[::2] // 2, cols[::2] // 2)
        numbers[:, valid_pixels == 0] = FILL
        return numbers


def _split_2x2(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Reshape (h, w) to (h / 2, 2, w / 2, 2), so that axes 1 and 3 run over blocks of 2 x 2 pixels."""
    height, width = array.shape
    return array.reshape(height // 2, 2, width // 2, 2)
