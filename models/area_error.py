"""The error of mapped areas: from what a network missed on held-out ground to the interval of an area.

**Blocks.** The errors of neighbouring pixels are alike, so ground is divided into square blocks. For each block b and
class, the expected area is E = sum of p over its *zone*: the pixels mapped as the class and those within `ZONE_PX` of
them, p being the calibrated probability. Its uncertain area is U = sum of p (1 - p): it grows with the length of the
outline and with all ground on which the network hesitates, so that small outlines have large relative errors.

**Residuals.** With the true area t of a block, r = (t - E) / s is its residual, s = (U + 1 px)^g its scale; the
exponent g is chosen such that |r| does not depend on the size. Errors of 1 <= M blocks together are drawn from the
residuals by a bootstrap (`models.area_fit`), and the interval of an area made of blocks is

    E + S q(M),    S = sum of s,    M = S^2 / (sum of s^2) / (1 + 4 c),

M being the number of equal and independent blocks that the area is worth (Kish 1965, Survey sampling), of which each is
correlated by c with its four neighbours. The normalisation of residuals by a scale is that of locally weighted
conformal prediction (Lei et al. 2018, Distribution-free predictive inference for regression, section 5.2).

**Two kinds of area.** An *outline* answers for its zone only: the true area of the class in it and within `ZONE_PX` of
it. A *total* of a region answers for everything: its blocks with mapped ground for all true pixels in them, and the
blocks without any for a share `missed_share` of the expected area, as found on the held-out ground.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.calibration import BINS

CELL_PX: Final = 32
"""Side of the cells in which sums are collected, pixels; blocks are squares of whole cells."""

ZONE_PX: Final = 3
"""Half the width of the strip of ground around mapped ground that belongs to its outline, pixels."""

CONFIDENCE: Final = 0.95

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResidualQuantiles(_StrictModel):
    """The distribution of the mean residual of M blocks.

    Attributes:
        mean: Mean of the residuals.
        sizes: Numbers of blocks M, rising from 1.
        low: The 2.5 % quantile of the mean of M residuals, for each M.
        high: The 97.5 % quantile.
    """

    mean: float
    sizes: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quantiles (2, n) at numbers of blocks (n,), interpolated linearly in 1 / sqrt(M)."""
        places = 1.0 / np.sqrt(np.array(self.sizes, dtype=np.float64))[::-1]
        wanted = 1.0 / np.sqrt(np.maximum(blocks, 1.0))
        return np.stack([np.interp(wanted, places, np.array(ends)[::-1]) for ends in (self.low, self.high)])


class MissedShare(_StrictModel):
    """True ground in blocks where nothing of the class was mapped, relative to the expected area of all blocks.

    Attributes:
        mean: The share.
        low: The 2.5 % quantile of its block bootstrap.
        high: The 97.5 % quantile.
        blocks: Number of all blocks, mapped or not.
    """

    mean: float
    low: float
    high: float
    blocks: int


class Coverage(_StrictModel):
    """How many held-out blocks the nominal 95 % intervals cover.

    Attributes:
        blocks: Number of blocks with mapped ground.
        outlines: Share of the blocks in which the interval of the outlines holds the true area of their zone; null
            without blocks.
        totals: Share in which the interval of the total holds the true area of the block.
    """

    blocks: int
    outlines: Share | None
    totals: Share | None


class CalibrationError(_StrictModel):
    """Expected calibration error of the class's probabilities on held-out ground.

    Attributes:
        before: Of the network's probabilities.
        after: Of the calibrated ones.
    """

    before: Share | None
    after: Share | None


class ClassAreaError(_StrictModel):
    """The calibration of one class, and the error of its areas.

    Attributes:
        table: Calibrated probability of each bin of `models.calibration`.
        calibration: Calibration error by the ground it was measured on: "validation" (each fifth of the blocks by a
            table fitted on the others) and "test" (by the final table), if there is a test scene.
        blocks: Number of held-out blocks with mapped ground that the intervals rest on.
        block_px: Side of the blocks, pixels; null where the interval is undefined.
        correlation: Rank correlation of the residuals of neighbouring blocks; null if there are no neighbours.
        exponent: The exponent g of the scale.
        outlines: Residuals of the zones of outlines; null with too few blocks.
        totals: Residuals of whole blocks with mapped ground; likewise.
        missed: What blocks without mapped ground add; likewise.
        coverage: Coverage by the ground it was measured on, as `calibration`.
    """

    table: Annotated[tuple[Share, ...], Field(min_length=BINS, max_length=BINS)]
    calibration: dict[str, CalibrationError]
    blocks: int
    block_px: int | None = None
    correlation: float | None = None
    exponent: float = 1.0
    outlines: ResidualQuantiles | None = None
    totals: ResidualQuantiles | None = None
    missed: MissedShare | None = None
    coverage: dict[str, Coverage] = {}

    @property
    def values(self) -> NDArray[np.float64]:
        """The table as an array (64,)."""
        return np.array(self.table)


class AreaError(_StrictModel):
    """The calibration of a version and the error of its areas, measured on its validation scenes.

    Attributes:
        classes: By name of each foreground class; with several, also of all of them together.
        background: Calibrated probability of background by bin.
        fewest_blocks: Number of blocks below which an interval is undefined.
    """

    classes: dict[str, ClassAreaError]
    background: Annotated[tuple[Share, ...], Field(min_length=BINS, max_length=BINS)]
    fewest_blocks: int


@dataclass(frozen=True)
class AreaEstimates:
    """Areas with their intervals, in the unit of the pixel areas given; NaN where undefined.

    Attributes:
        best: (n,) best estimates.
        low: (n,) lower ends, at least 0.
        high: (n,) upper ends.
    """

    best: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class CellSums:
    """Sums of one class over parts of the ground; a part is what an outline has of a cell.

    Attributes:
        owner: (n,) number of the outline, from 0.
        row: (n,) row of the cell: the pixel's row divided by `CELL_PX`.
        col: (n,) column of the cell.
        expected: (n,) sum of the calibrated probability over the zone, pixels.
        uncertain: (n,) sum of p (1 - p) over the zone, pixels.
        pixel_area: (n,) area of a pixel in the cell.
    """

    owner: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    expected: NDArray[np.float64]
    uncertain: NDArray[np.float64]
    pixel_area: NDArray[np.float64]


def scale(uncertain: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Return the scale of residuals in pixels, from uncertain areas in pixels."""
    scales: NDArray[np.float64] = (uncertain + 1.0) ** exponent
    return scales


def outline_areas(error: ClassAreaError, sums: CellSums, outlines: int) -> AreaEstimates:
    """Return the areas of outlines, each in its own zone.

    Args:
        error: The error of their class.
        sums: Sums over the cells of their zones.
        outlines: Number of outlines; those without a part get NaN.
    """
    return _areas(error, error.outlines, sums, outlines)


def total_areas(error: ClassAreaError, sums: CellSums, regions: int, blocks: Sequence[float]) -> AreaEstimates:
    """Return the total areas of a class in regions, missed ground included.

    Args:
        error: The error of the class.
        sums: Sums over the cells of the zones in the regions; their owners are the regions.
        regions: Number of regions.
        blocks: How many blocks of ground each region has, mapped or not.
    """
    mapped = _areas(error, error.totals, sums, regions)
    missed = error.missed
    if missed is None:
        return mapped
    expected = np.bincount(sums.owner, sums.expected * sums.pixel_area, minlength=regions)
    # The share varies between regions as well as it is uncertain itself: by 1 / n and by 1 / M.
    widened = np.sqrt(1.0 + missed.blocks / np.maximum(np.asarray(blocks, dtype=np.float64), 1.0))
    best = mapped.best + expected * missed.mean
    below = np.hypot(mapped.best - mapped.low, expected * np.minimum((missed.mean - missed.low) * widened, missed.mean))
    above = np.hypot(mapped.high - mapped.best, expected * (missed.high - missed.mean) * widened)
    return AreaEstimates(best, np.maximum(best - below, 0.0), best + above)


def _areas(error: ClassAreaError, residuals: ResidualQuantiles | None, sums: CellSums, owners: int) -> AreaEstimates:
    undefined = np.full(owners, np.nan)
    if residuals is None or error.block_px is None:
        return AreaEstimates(undefined, undefined.copy(), undefined.copy())
    cells = error.block_px // CELL_PX
    keys, place = np.unique(np.stack([sums.owner, sums.row // cells, sums.col // cells]), axis=1, return_inverse=True)
    owner, blocks = keys[0], keys.shape[1]
    parts = np.bincount(place, minlength=blocks)
    pixel_area = np.bincount(place, sums.pixel_area, minlength=blocks) / parts
    scales = scale(np.bincount(place, sums.uncertain, minlength=blocks), error.exponent) * pixel_area
    expected = np.bincount(sums.owner, sums.expected * sums.pixel_area, minlength=owners)
    total = np.bincount(owner, scales, minlength=owners)
    squares = np.bincount(owner, scales**2, minlength=owners)
    with np.errstate(invalid="ignore"):
        independent = total**2 / squares / (1.0 + 4.0 * max(error.correlation or 0.0, 0.0))
    low, high = residuals.at(independent)
    found = total > 0
    centre = expected + total * np.clip(residuals.mean, low, high)
    ends = (centre, expected + total * low, expected + total * high)
    return AreaEstimates(*(np.where(found, np.maximum(end, 0.0), np.nan) for end in ends))
