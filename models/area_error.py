"""The error of mapped areas: from what a network missed on held-out ground to the interval of an area.

**Blocks.** The errors of neighbouring pixels are alike, so ground is divided into square blocks. For each block b and
class, the expected area is E = sum of p over its *zone*: the pixels mapped as the class and those within `ZONE_PX` of
them, p being the calibrated probability. Its uncertain area is U = sum of p (1 - p): it grows with the length of the
outline and with all ground on which the network hesitates, so that small outlines have large relative errors.

**Residuals.** With the true area t of a block, r = (t - E) / s is its residual, s = (U + 1 px)^g its scale; the
exponent g is chosen such that |r| does not depend on the size. Errors of 1 <= M blocks together are drawn from the
residuals by a bootstrap (`models.area_fit`), and the interval of an area made of blocks is

    E + S q(M),    S = sum of s,    M = S^2 / (sum of s^2) / ((1 + c) / (1 - c))^2,

M being the number of equal and independent blocks that the area is worth (Kish 1965, Survey sampling), if neighbours
are correlated by c, and blocks k rows and l columns apart by c^(k + l). The normalisation of residuals by a scale is
that of locally weighted conformal prediction (Lei et al. 2018, Distribution-free predictive inference for regression,
section 5.2).

**Two kinds of area.** An *outline* answers for its zone only: the true area of the class in it and within `ZONE_PX` of
it. Its residuals are those of pieces of outlines of about its size, a piece being what an outline has of a block: small
outlines are often false, which their probabilities do not tell. A *total* of a region answers for everything: its
blocks with mapped ground for all true pixels in them, and the blocks without any for a share (`MissedShare`) of the
expected area.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.calibration import BINS
from models.spatial_correlation import design_effect

CELL_PX: Final = 32
"""Side of the cells in which sums are collected, pixels; blocks are squares of whole cells."""

ZONE_PX: Final = 3
"""Half the width of the strip of ground around mapped ground that belongs to its outline, pixels."""

CONFIDENCE: Final = 0.95

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResidualQuantiles(_StrictModel):
    """The distribution of the error of M blocks together, relative to the sum of their scales.

    Attributes:
        mean: Error of all blocks together, relative to the sum of their scales.
        sizes: Numbers of equal and independent blocks M, rising from 1.
        low: The 2.5 % quantile, for each M.
        high: The 97.5 % quantile.
    """

    mean: float
    sizes: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quantiles (2, n) at numbers of blocks (n,), interpolated linearly in 1 / sqrt(M)."""
        places = 1.0 / np.sqrt(np.array(self.sizes, dtype=np.float64))[::-1]
        wanted = 1.0 / np.sqrt(np.maximum(blocks, 1.0))
        return np.stack([np.interp(wanted, places, np.array(ends)[::-1]) for ends in (self.low, self.high)])


class OutlineResiduals(_StrictModel):
    """The residuals of pieces of outlines of one range of sizes, which ends where the next begins.

    Attributes:
        smallest_px: Fewest mapped pixels of an outline.
        pieces: Number of pieces of outlines by blocks.
        exponent: The exponent g of the scale.
        residuals: Their distribution.
    """

    smallest_px: int
    pieces: int
    exponent: float
    residuals: ResidualQuantiles


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
        totals: Share of these in which the interval of the total holds the true area; null without blocks.
        pieces: Number of pieces of outlines by blocks.
        outlines: Share of these whose interval holds the true area of the zone; null without pieces.
    """

    blocks: int
    totals: Share | None
    pieces: int
    outlines: Share | None


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
        true_px: Number of true pixels of the class on the validation ground. With 0 its probabilities are not
            calibrated, and its intervals are undefined; null in cards of earlier releases.
        block_px: Side of the blocks, pixels; null where the interval is undefined.
        correlation: Rank correlation of the residuals of neighbouring blocks; null if there are no neighbours.
        exponent: The exponent g of the scale of whole blocks.
        totals: Residuals of whole blocks with mapped ground; null with too few blocks, or without true pixels.
        outlines: Residuals of outlines by rising size; empty with too few pieces, and for all classes together.
        missed: What blocks without mapped ground add; likewise.
        coverage: Coverage by the ground it was measured on, as `calibration`.
    """

    table: Annotated[tuple[Share, ...], Field(min_length=BINS, max_length=BINS)]
    calibration: dict[str, CalibrationError]
    blocks: int
    true_px: int | None = None
    block_px: int | None = None
    correlation: float | None = None
    exponent: float = 1.0
    totals: ResidualQuantiles | None = None
    outlines: tuple[OutlineResiduals, ...] = ()
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


def outline_areas(error: ClassAreaError, sums: CellSums, sizes: NDArray[np.int64]) -> AreaEstimates:
    """Return the areas of outlines, each in its own zone.

    Args:
        error: The error of their class.
        sums: Sums over the cells of their zones.
        sizes: (n,) mapped pixels of each outline; those without a part in the sums get NaN.
    """
    found = AreaEstimates(*(np.full(len(sizes), np.nan) for _ in range(3)))
    ranges = np.searchsorted([group.smallest_px for group in error.outlines[1:]], sizes, side="right")
    for number, group in enumerate(error.outlines):
        chosen = ranges == number
        part = CellSums(*(array[chosen[sums.owner]] for array in vars(sums).values()))
        areas = _areas(error, group.residuals, group.exponent, part, len(sizes))
        for into, values in zip(vars(found).values(), vars(areas).values(), strict=True):
            into[chosen] = values[chosen]
    return found


def total_areas(error: ClassAreaError, sums: CellSums, regions: int, blocks: Sequence[float]) -> AreaEstimates:
    """Return the total areas of a class in regions, missed ground included.

    Args:
        error: The error of the class.
        sums: Sums over the cells of the zones in the regions; their owners are the regions.
        regions: Number of regions.
        blocks: How many blocks of ground each region has, mapped or not.
    """
    missed = error.missed
    if error.totals is None or missed is None:
        return AreaEstimates(*(np.full(regions, np.nan) for _ in range(3)))
    mapped = _areas(error, error.totals, error.exponent, sums, regions)
    expected = np.bincount(sums.owner, sums.expected * sums.pixel_area, minlength=regions)
    # The share varies between regions as well as it is uncertain itself: by 1 / n and by 1 / M.
    widened = np.sqrt(1.0 + missed.blocks / np.maximum(np.asarray(blocks, dtype=np.float64), 1.0))
    best = mapped.best + expected * missed.mean
    below = np.hypot(mapped.best - mapped.low, expected * np.minimum((missed.mean - missed.low) * widened, missed.mean))
    above = np.hypot(mapped.high - mapped.best, expected * (missed.high - missed.mean) * widened)
    return AreaEstimates(best, np.maximum(best - below, 0.0), best + above)


def _areas(
    error: ClassAreaError, residuals: ResidualQuantiles, exponent: float, sums: CellSums, owners: int
) -> AreaEstimates:
    if error.block_px is None:
        raise ValueError("found residuals without the side of their blocks; expected both or none")
    cells = error.block_px // CELL_PX
    row, col = sums.row // cells, sums.col // cells
    down, across = int(row.max(initial=0)) + 1, int(col.max(initial=0)) + 1
    keys, place = np.unique((sums.owner * down + row) * across + col, return_inverse=True)
    owner, blocks = keys // (down * across), len(keys)
    parts = np.bincount(place, minlength=blocks)
    pixel_area = np.bincount(place, sums.pixel_area, minlength=blocks) / parts
    scales = scale(np.bincount(place, sums.uncertain, minlength=blocks).astype(np.float64), exponent) * pixel_area
    expected = np.bincount(sums.owner, sums.expected * sums.pixel_area, minlength=owners)
    total = np.bincount(owner, scales, minlength=owners)
    squares = np.bincount(owner, scales**2, minlength=owners)
    with np.errstate(invalid="ignore"):
        independent = total**2 / squares / design_effect(error.correlation)
    low, high = residuals.at(independent)
    found = total > 0
    centre = expected + total * np.clip(residuals.mean, low, high)
    ends = (centre, expected + total * low, expected + total * high)
    return AreaEstimates(*(np.where(found, np.maximum(end, 0.0), np.nan) for end in ends))
