"""Fitting the error of mapped areas to evidence from held-out ground; `models.area_error` says how it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.area_error import (
    CELL_PX,
    CONFIDENCE,
    AreaError,
    CalibrationError,
    ClassAreaError,
    Coverage,
    MissedShare,
    OutlineResiduals,
    ResidualQuantiles,
    scale,
)
from models.area_evidence import CellEvidence, foregrounds
from models.calibration import UNCALIBRATED, calibrate, calibration_error, reverse
from models.spatial_correlation import BlockValues, design_effect, independent_side, neighbour_correlation

FEWEST_BLOCKS: Final = 39
"""With fewer residuals n, the 97.5 % quantile of the next one, the ceil(0.975 (n + 1))-th, lies beyond the largest."""

_ENOUGH_BLOCKS: Final = 100  # blocks are not made larger if fewer than these would be left
_EXPONENTS: Final = tuple(np.arange(0.4, 1.01, 0.1).round(1).tolist())
_SIZES: Final = (2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
_RESAMPLES: Final = 1000
_MOST_RESIDUALS: Final = 1000  # of more, as many stand for all, evenly chosen by rank
_OUTLINE_SIZES_PX: Final = (1, 30, 300, 3000)
"""Where ranges of sizes of outlines begin."""

_FOLDS: Final = 5
_TAIL: Final = (1.0 - CONFIDENCE) / 2.0

VALIDATION: Final = "validation"
TEST: Final = "test"


@dataclass(frozen=True)
class _Blocks:
    """Sums (b,) of one class over blocks, or over pieces of outlines by blocks, in pixels.

    The size is that of the mapped ground of the block, or that of the whole outline. The true area of a piece is that
    in its zone.
    """

    place: NDArray[np.int64]
    expected: NDArray[np.float64]
    uncertain: NDArray[np.float64]
    true_area: NDArray[np.float64]
    size: NDArray[np.float64]

    def subset(self, chosen: NDArray[np.bool_]) -> "_Blocks":
        return _Blocks(*(array[chosen] for array in vars(self).values()))

    def of_mapped(self) -> "_Blocks":
        return self.subset(self.size > 0)

    def residuals(self, exponent: float) -> NDArray[np.float64]:
        return (self.true_area - self.expected) / scale(self.uncertain, exponent)


def fit_area_error(
    validation: CellEvidence, names: Sequence[str], together: str, test: CellEvidence | None = None, seed: int = 0
) -> AreaError:
    """Fit calibration and area error on validation ground, and measure both on held-out ground.

    Args:
        validation: Evidence from the validation scenes.
        names: Names of the K classes of the head, background first.
        together: Name of all foreground classes together; used if there are several.
        test: Evidence from the test scenes, which only measures.
        seed: Seed of the bootstrap.

    Returns:
        The fit. The intervals of a class with fewer than `FEWEST_BLOCKS` mapped blocks are null, and so are those of a
        class without a true pixel: whether it is nowhere, or only missing in the outlines, cannot be told.
    """
    tables = _tables(validation)
    areas = foregrounds(len(names))
    fitted = {}
    for index, values in enumerate(areas):
        name = names[values[0]] if len(values) == 1 else together
        fitted[name] = _fit_class(validation, test, index, values, tables, seed)
    return AreaError(classes=fitted, background=tuple(tables[0].tolist()), fewest_blocks=FEWEST_BLOCKS)


def _tables(evidence: CellEvidence) -> list[NDArray[np.float64]]:
    """Return the calibrated probabilities by bin of each class of the head."""
    totals, trues = evidence.total.sum(axis=0, dtype=np.int64), evidence.true.sum(axis=0, dtype=np.int64)
    return [calibrate(total, true) for total, true in zip(totals, trues, strict=True)]


def _table_of(values: tuple[int, ...], tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return tables[values[0]] if len(values) == 1 else reverse(tables[0])


def _fit_class(
    validation: CellEvidence,
    test: CellEvidence | None,
    index: int,
    values: tuple[int, ...],
    tables: Sequence[NDArray[np.float64]],
    seed: int,
) -> ClassAreaError:
    table = _table_of(values, tables)
    side = _cells_per_side(validation, index, table)
    folds, folds_of_pieces = _folds(validation, side)
    error = _fit_residuals(validation, index, values, table, side, seed)
    crossed = [
        _cross_fit(validation, index, values, (folds == fold, folds_of_pieces == fold), side) for fold in range(_FOLDS)
    ]
    calibration = {VALIDATION: _pooled_calibration([(part, table) for part, _, table in crossed], index)}
    coverage = {VALIDATION: _coverage([(part, error) for part, error, _ in crossed], index, values, side)}
    if test is not None:
        calibration[TEST] = _pooled_calibration([(test, table)], index)
        coverage[TEST] = _coverage([(test, error)], index, values, side)
    return error.model_copy(update={"calibration": calibration, "coverage": coverage})


def _cross_fit(
    evidence: CellEvidence,
    index: int,
    values: tuple[int, ...],
    held_out: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    side: int,
) -> tuple[CellEvidence, ClassAreaError, NDArray[np.float64]]:
    """Fit on all cells and pieces but those held out; return these, the fit and its table."""
    cells, pieces = held_out
    rest = evidence.subset(~cells, ~pieces)
    table = _table_of(values, _tables(rest))
    return evidence.subset(cells, pieces), _fit_residuals(rest, index, values, table, side, None), table


def _fit_residuals(
    evidence: CellEvidence,
    index: int,
    values: tuple[int, ...],
    table: NDArray[np.float64],
    side: int,
    seed: int | None,
) -> ClassAreaError:
    """Fit the error of one class; without a seed, the error of single blocks only."""
    everything = _blocks(evidence, index, table, side)
    blocks = everything.of_mapped()
    count, true_px = len(blocks.expected), int(evidence.true_area[:, index].sum(dtype=np.int64))
    fit = ClassAreaError(table=tuple(table.tolist()), calibration={}, blocks=count, true_px=true_px)
    if count < FEWEST_BLOCKS or not true_px:
        return fit
    exponent = _exponent(blocks)
    correlation = neighbour_correlation(blocks.place, blocks.residuals(exponent))
    pieces = _pieces(evidence, values[0], table, side) if len(values) == 1 else None
    return fit.model_copy(
        update={
            "block_px": side * CELL_PX,
            "correlation": correlation,
            "exponent": exponent,
            "totals": _quantiles(blocks, exponent, correlation, seed),
            "outlines": _fit_outlines(pieces, correlation, seed) if pieces else (),
            "missed": _missed_share(everything, seed or 0),
        }
    )


def _blocks(evidence: CellEvidence, index: int, table: NDArray[np.float64], side: int) -> _Blocks:
    """Add cells up to blocks of side x side cells, with the expected and the uncertain area of one class."""
    place, of_cell = np.unique(evidence.place // (1, side, side), axis=0, return_inverse=True)

    def add_up(cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        return np.bincount(of_cell, cells, minlength=len(place)).astype(np.float64)

    zone = evidence.zone[:, index].astype(np.float64)
    return _Blocks(
        place=place,
        expected=add_up(zone @ table),
        uncertain=add_up(zone @ (table * (1.0 - table))),
        true_area=add_up(evidence.true_area[:, index]),
        size=add_up(evidence.mapped[:, index]),
    )


def _pieces(evidence: CellEvidence, value: int, table: NDArray[np.float64], side: int) -> _Blocks:
    """Add the pieces of the outlines of one class in cells up to pieces in blocks."""
    pieces = evidence.pieces
    chosen = pieces.value == value
    keys = np.column_stack([pieces.place[chosen] // (1, side, side), pieces.outline[chosen]])
    keys, of_piece = np.unique(keys, axis=0, return_inverse=True)

    def add_up(cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        return np.bincount(of_piece, cells, minlength=len(keys)).astype(np.float64)

    zone = pieces.zone[chosen].astype(np.float64)
    size = np.zeros(len(keys))
    size[of_piece] = pieces.size[chosen]
    return _Blocks(
        place=keys[:, :3],
        expected=add_up(zone @ table),
        uncertain=add_up(zone @ (table * (1.0 - table))),
        true_area=add_up(pieces.zone_area[chosen]),
        size=size,
    )


def _cells_per_side(evidence: CellEvidence, index: int, table: NDArray[np.float64]) -> int:
    """Choose the side of the blocks in cells.

    Sides that leave too few blocks are not considered: 39 residuals give an interval, but its coverage varies by 3
    percentage points. If blocks remain correlated, the intervals of sums allow for it.
    """

    def residuals(side: int, fewest: int) -> BlockValues | None:
        blocks = _blocks(evidence, index, table, side).of_mapped()
        return (blocks.place, blocks.residuals(_exponent(blocks))) if len(blocks.expected) >= fewest else None

    return independent_side(residuals, FEWEST_BLOCKS, _ENOUGH_BLOCKS)


def _exponent(blocks: _Blocks) -> float:
    """Choose the exponent of the scale: the one with which the size of residuals depends least on that of the area."""

    def dependence(exponent: float) -> float:
        residuals = blocks.residuals(exponent)
        return abs(_rank_correlation(np.abs(residuals - np.median(residuals)), blocks.uncertain))

    return float(min(_EXPONENTS, key=dependence))


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    ranks = rankdata(one), rankdata(other)
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _fit_outlines(pieces: _Blocks, correlation: float | None, seed: int | None) -> tuple[OutlineResiduals, ...]:
    """Fit the residuals of outlines by ranges of sizes; a range with too few pieces joins the next smaller one."""
    if len(pieces.size) < FEWEST_BLOCKS:
        return ()
    starts = [start for start, end in pairwise((*_OUTLINE_SIZES_PX, np.inf)) if _enough(pieces, start, end)]
    starts[:1] = [_OUTLINE_SIZES_PX[0]]  # the smallest outlines, if they are too few, join the next range
    groups = []
    for start, end in pairwise((*starts, np.inf)):
        chosen = pieces.subset((pieces.size >= start) & (pieces.size < end))
        exponent = _exponent(chosen)
        groups.append(
            OutlineResiduals(
                smallest_px=int(start),
                pieces=len(chosen.size),
                exponent=exponent,
                residuals=_quantiles(chosen, exponent, correlation, seed),
            )
        )
    return tuple(groups)


def _enough(pieces: _Blocks, smallest: float, end: float) -> bool:
    return int(((pieces.size >= smallest) & (pieces.size < end)).sum()) >= FEWEST_BLOCKS


def _quantiles(blocks: _Blocks, exponent: float, correlation: float | None, seed: int | None) -> ResidualQuantiles:
    """Return the quantiles of the error of areas of one and of several blocks, relative to their scale.

    For one block they are those of split conformal prediction, which cover the next block with at least the nominal
    probability whatever the distribution. For more, a bootstrap in two stages: the n blocks are drawn anew, as the
    ground might have been another, and M are drawn from these; their errors and their scales are added up. Of n
    correlated blocks only as many are drawn as they are worth.
    """
    differences, scales = blocks.true_area - blocks.expected, scale(blocks.uncertain, exponent)
    residuals = differences / scales
    order = np.argsort(residuals, kind="stable")
    count = len(order)
    rank = int(np.ceil((1.0 - _TAIL) * (count + 1)))  # from 1
    sizes, low, high = [1.0], [float(residuals[order[count - rank]])], [float(residuals[order[rank - 1]])]
    if seed is not None:
        generator = np.random.default_rng(seed)
        kept = min(count, _MOST_RESIDUALS)
        pool = order[((np.arange(kept) + 0.5) * count / kept).astype(np.int64)]
        independent = scales[pool].sum() ** 2 / (scales[pool] ** 2).sum() / kept
        worth = max(round(kept / design_effect(correlation)), 2)
        worlds = pool[generator.integers(kept, size=(_RESAMPLES, worth))]
        for size in _SIZES:
            drawn = np.take_along_axis(worlds, generator.integers(worth, size=(_RESAMPLES, size)), axis=1)
            means = differences[drawn].sum(axis=1) / scales[drawn].sum(axis=1)
            if size * independent > 1.0:
                ends = np.quantile(means, (_TAIL, 1.0 - _TAIL))
                sizes.append(size * independent)
                low.append(float(ends[0]))
                high.append(float(ends[1]))
    mean = float(differences.sum() / scales.sum())
    return ResidualQuantiles(mean=mean, sizes=tuple(sizes), low=tuple(low), high=tuple(high))


def _missed_share(blocks: _Blocks, seed: int) -> MissedShare:
    missed = np.where(blocks.size > 0, 0.0, blocks.true_area)
    count = len(missed)
    generator = np.random.default_rng(seed)
    shares = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        drawn = generator.integers(count, size=count)
        shares[number] = missed[drawn].sum() / max(blocks.expected[drawn].sum(), 1.0)
    low, high = np.quantile(shares, (_TAIL, 1.0 - _TAIL))
    mean = missed.sum() / max(blocks.expected.sum(), 1.0)
    return MissedShare(mean=float(mean), low=float(min(low, mean)), high=float(max(high, mean)), blocks=count)


def _folds(evidence: CellEvidence, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number cells and pieces of outlines by five parts of the ground.

    A part is blocks that follow each other, so that the parts share few borders.
    """
    cells, pieces = (place // (1, side, side) for place in (evidence.place, evidence.pieces.place))
    blocks, of_place = np.unique(np.concatenate([cells, pieces]), axis=0, return_inverse=True)
    folds = of_place.reshape(-1) * _FOLDS // max(len(blocks), 1)
    return folds[: len(cells)], folds[len(cells) :]


def _coverage(
    fits: Sequence[tuple[CellEvidence, ClassAreaError]], index: int, values: tuple[int, ...], side: int
) -> Coverage:
    """Return which share of blocks the intervals of single blocks cover, each block by the error given with it."""
    of_totals: list[NDArray[np.bool_]] = []
    of_outlines: list[NDArray[np.bool_]] = []
    for evidence, error in fits:
        if error.totals is not None:
            blocks = _blocks(evidence, index, error.values, side).of_mapped()
            of_totals.append(_covered(blocks, error.exponent, error.totals))
        if error.outlines:
            pieces = _pieces(evidence, values[0], error.values, side)
            for chosen, group in zip(_by_size(pieces.size, error.outlines), error.outlines, strict=True):
                of_outlines.append(_covered(pieces.subset(chosen), group.exponent, group.residuals))
    totals, outlines = (np.concatenate([np.zeros(0, dtype=np.bool_), *found]) for found in (of_totals, of_outlines))
    shares = [float(found.mean()) if found.size else None for found in (totals, outlines)]
    return Coverage(blocks=len(totals), totals=shares[0], pieces=len(outlines), outlines=shares[1])


def _covered(blocks: _Blocks, exponent: float, quantiles: ResidualQuantiles) -> NDArray[np.bool_]:
    residuals = blocks.residuals(exponent)
    covered: NDArray[np.bool_] = (quantiles.low[0] <= residuals) & (residuals <= quantiles.high[0])
    return covered


def _by_size(size: NDArray[np.float64], groups: Sequence[OutlineResiduals]) -> list[NDArray[np.bool_]]:
    """Return for each range of sizes which of the sizes lie in it."""
    ranges = np.searchsorted([group.smallest_px for group in groups[1:]], size, side="right")
    return [ranges == number for number in range(len(groups))]


def _pooled_calibration(fits: Sequence[tuple[CellEvidence, NDArray[np.float64]]], index: int) -> CalibrationError:
    """Return the calibration error before and after, over cells that are each judged by the table given with them."""
    errors, pixels = [], []
    for evidence, table in fits:
        classes = evidence.total.shape[1]
        values = foregrounds(classes)[index]
        total, true = evidence.total.sum(axis=0, dtype=np.int64), evidence.true.sum(axis=0, dtype=np.int64)
        if len(values) == 1:
            total, true = total[values[0]], true[values[0]]
        else:
            total, true = total[0][::-1], (total[0] - true[0])[::-1]
        if total.sum():
            errors.append([calibration_error(total, true, each) for each in (UNCALIBRATED, table)])
            pixels.append(int(total.sum()))
    if not errors:
        return CalibrationError(before=None, after=None)
    before, after = np.average(errors, axis=0, weights=pixels).tolist()
    return CalibrationError(before=before, after=after)
