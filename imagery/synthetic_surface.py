"""Synthetic land cover: ice above the snow line, debris in valleys below it, lakes, cloud, gaps of Landsat 7."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.synthetic_noise import Coordinates, fractal, smooth
from imagery.synthetic_terrain import Terrain, terrain

_SAMPLE_SIDE: Final = 1024
# The equilibrium line of the Himalaya differs by some hundred metres between neighbouring ranges.
_CLIMATE_M: Final = 200.0
_CLIMATE_PX: Final = 320  # about 10 km
# Since the scan line corrector failed in May 2003, gaps repeat every 33 lines and widen from 0 in the middle of the
# swath to about 14 lines at its edges; about 22 % of a scene is lost (USGS, "Landsat 7 SLC-off products").
_GAP_PERIOD_PX: Final = 33
_GAP_WIDEST_PX: Final = 14.5
_GAP_TILT: Final = -0.16  # scans cross the flight path, which is tilted against grid north


@dataclass(frozen=True)
class Shares:
    """Shares of a scene's pixels, 0 to 1; the rest is background.

    The defaults are those of Aryal et al. (background 72.4 %).

    Attributes:
        clean_ice: Snow and bare ice.
        debris_covered_ice: Debris-covered ice.
        masked: Cloud.
    """

    clean_ice: float = 0.218
    debris_covered_ice: float = 0.024
    masked: float = 0.034


@dataclass(frozen=True)
class Scores:
    """Scores of the land covers, (h, w) each; a cover is present where its score exceeds its threshold.

    Attributes:
        ice: Elevation in metres, adjusted for aspect and slope, which also determine where snow stays.
        debris: Elevation in metres, less a penalty for steep slopes and for height above the valley floor.
        lake: High only on low, flat valley floors.
        cloud: Thickness of cloud.
    """

    ice: NDArray[np.float64]
    debris: NDArray[np.float64]
    lake: NDArray[np.float64]
    cloud: NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """Scores above which each cover is present; the order of the fields is the order of precedence."""

    cloud: float
    ice: float
    debris: float
    lake: float


@dataclass(frozen=True)
class Cover:
    """Land cover as masks, (h, w) each, that do not overlap.

    Attributes:
        ice: Clean ice.
        debris: Debris-covered ice.
        lake: Open water.
    """

    ice: NDArray[np.bool_]
    debris: NDArray[np.bool_]
    lake: NDArray[np.bool_]


def ice_score(
    seed: int, relief: Terrain, rows: Coordinates, cols: Coordinates, flow_m: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Compute the elevation in metres, adjusted for what keeps snow and what sheds it, (h, w).

    Snow reaches lower on northern slopes and slides off steep ones, which produces rock islands. Precipitation differs
    from valley to valley, and with it the snow line.

    Args:
        seed: At least 0.
        relief: The terrain at the rows and columns.
        rows: (h,) rows.
        cols: (w,) columns.
        flow_m: How much lower ice reaches by flowing down.
    """
    climate = _CLIMATE_M * smooth(seed, "climate", rows, cols, _CLIMATE_PX)
    steep = np.maximum(relief.slope_deg - 38, 0)
    snow = 40 * fractal(seed, "snow", rows, cols, 48, 3)
    return np.asarray(relief.elevation_m + climate + flow_m + 350 * relief.northness - 60 * steep + snow)


def scores(seed: int, relief: Terrain, rows: Coordinates, cols: Coordinates) -> Scores:
    """Compute the scores of every cover; ice also flows down the valleys."""
    climate = _CLIMATE_M * smooth(seed, "climate", rows, cols, _CLIMATE_PX)
    ice = ice_score(seed, relief, rows, cols, 350 * (1 - relief.valley))
    debris = (
        relief.elevation_m
        + climate
        - 60 * np.maximum(relief.slope_deg - 9, 0)
        - 6000 * np.maximum(relief.valley - 0.02, 0)
        + 60 * fractal(seed, "debris", rows, cols, 32, 2)
    )
    return Scores(ice, debris, lake_score(seed, relief, rows, cols), cloud_score(seed, rows, cols))


def lake_score(seed: int, relief: Terrain, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
    """Compute how readily a lake forms, (h, w): high only on flat valley floors."""
    return np.asarray(
        fractal(seed, "lakes", rows, cols, 40, 2) - 30 * relief.valley - np.maximum(relief.slope_deg - 4, 0)
    )


def cloud_score(seed: int, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
    """Compute the thickness of cloud, (h, w), mean 0 and standard deviation 1."""
    return fractal(seed, "cloud", rows, cols, 96, 4)


def calibrate(seed: int, height: int, width: int, shares: Shares, lake_share: float) -> Thresholds:
    """Return the thresholds that give the requested shares, estimated from at most 1024 x 1024 evenly spaced pixels."""
    rows, cols = _sample(height, width)
    sample = scores(seed, terrain(seed, rows, cols), rows, cols)
    remaining = np.ones(sample.ice.shape, dtype=np.bool_)
    found = []
    for score, share in (
        (sample.cloud, shares.masked),
        (sample.ice, shares.clean_ice),
        (sample.debris, shares.debris_covered_ice),
        (sample.lake, lake_share),
    ):
        threshold = threshold_for(score[remaining], share * remaining.size)
        remaining &= score <= threshold
        found.append(threshold)
    return Thresholds(*found)


def cloud_threshold(seed: int, height: int, width: int, share: float) -> float:
    """Return the thickness above which cloud is seen, so that it has this share of a scene; see `calibrate`."""
    score = cloud_score(seed, *_sample(height, width))
    return threshold_for(score.ravel(), share * score.size)


def cover_of(found: Scores, thresholds: Thresholds) -> Cover:
    """Apply the thresholds: ice before debris before lakes. Cloud does not change the cover below it."""
    ice = found.ice > thresholds.ice
    debris = ~ice & (found.debris > thresholds.debris)
    lake = ~ice & ~debris & (found.lake > thresholds.lake)
    return Cover(ice, debris, lake)


def scan_gaps(rows: NDArray[np.int64], cols: NDArray[np.int64], scene_width: int) -> NDArray[np.bool_]:
    """Return where Landsat 7 with failed scan line corrector has no data, (h, w): wedges that widen to the sides."""
    off_centre = np.abs(2 * (cols + 0.5) / scene_width - 1)
    return np.asarray((rows[:, None] + _GAP_TILT * cols) % _GAP_PERIOD_PX < _GAP_WIDEST_PX * off_centre)


def label_mask(cover: Cover, masked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the truth, (h, w), with the values of the glacier scheme; cloud and gaps are masked/unknown."""
    mask = np.full(masked.shape, BACKGROUND, dtype=np.uint8)
    mask[cover.ice] = CLEAN_ICE.value
    mask[cover.debris] = DEBRIS_COVERED_ICE.value
    mask[masked] = UNKNOWN
    return mask


def threshold_for(score: NDArray[np.float64], count: float) -> float:
    """Return the value that `count` of the scores exceed; infinity for a count of 0."""
    return float(np.quantile(score, 1 - count / score.size)) if count else float("inf")


def _sample(height: int, width: int) -> tuple[Coordinates, Coordinates]:
    """Return evenly spaced rows and columns of a scene, at most 1024 of each."""
    stride = -(-max(height, width) // _SAMPLE_SIDE)
    return np.arange(0, height, stride, dtype=np.float64), np.arange(0, width, stride, dtype=np.float64)
