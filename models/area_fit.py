"""Fitting the error of mapped areas to evidence from held-out ground; `models.area_error` says how it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    ResidualQuantiles,
    scale,
)
from models.area_evidence import CellEvidence, foregrounds
from models.calibration import UNCALIBRATED, calibrate, calibration_error, reverse

FEWEST_BLOCKS: Final = 39
"""With fewer residuals n, the 97.5 % quantile of the next one, the ceil(0.975 (n + 1))-th, lies beyond the largest."""

_ENOUGH_BLOCKS: Final = 100  # blocks are not made larger if fewer than these would be left
_CELLS_PER_SIDE: Final = (1, 2, 4, 8, 16)
_INDEPENDENT: Final = 0.2  # rank correlation of neighbouring blocks below which they count as nearly independent
_EXPONENTS: Final = tuple(np.arange(0.4, 1.01, 0.1).round(1).tolist())
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
_RESAMPLES: Final = 1000
_MOST_RESIDUALS: Final = 1000  # of more, as many even quantiles stand for all
_FOLDS: Final = 5
_TAIL: Final = (1.0 - CONFIDENCE) / 2.0

VALIDATION: Final = "validation"
TEST: Final = "test"


@dataclass(frozen=True)
class _Blocks:
    """Sums (b,) of one class over blocks, in pixels."""

    place: NDArray[np.int64]
    expected: NDArray[np.float64]
    uncertain: NDArray[np.float64]
    zone_area: NDArray[np.float64]
    true_area: NDArray[np.float64]
    mapped: NDArray[np.bool_]

    def of_mapped(self) -> "_Blocks":
        return _Blocks(*(array[self.mapped] for array in vars(self).values()))

    def outline_residuals(self, exponent: float) -> NDArray[np.float64]:
        return (self.zone_area - self.expected) / scale(self.uncertain, exponent)

    def total_residuals(self, exponent: float) -> NDArray[np.float64]:
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
        The fit. The intervals of a class with fewer than `FEWEST_BLOCKS` mapped blocks are null.
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
    folds = _folds(validation, side)
    error = _fit_residuals(validation, index, table, side, seed)
    crossed = [_cross_fit(validation, index, values, folds == fold, side) for fold in range(_FOLDS)]
    calibration = {VALIDATION: _pooled_calibration([(part, table) for part, _, table in crossed], index)}
    coverage = {VALIDATION: _coverage([(part, error) for part, error, _ in crossed], index, side)}
    if test is not None:
        calibration[TEST] = _pooled_calibration([(test, table)], index)
        coverage[TEST] = _coverage([(test, error)], index, side)
    return error.model_copy(update={"calibration": calibration, "coverage": coverage})


def _cross_fit(
    evidence: CellEvidence, index: int, values: tuple[int, ...], held_out: NDArray[np.bool_], side: int
) -> tuple[CellEvidence, ClassAreaError, NDArray[np.float64]]:
    """Fit on all cells but those held out; return these, the fit and its table."""
    rest = evidence.subset(~held_out)
    table = _table_of(values, _tables(rest))
    return evidence.subset(held_out), _fit_residuals(rest, index, table, side, None), table


def _fit_residuals(
    evidence: CellEvidence, index: int, table: NDArray[np.float64], side: int, seed: int | None
) -> ClassAreaError:
    """Fit the error of one class; without a seed, the error of single blocks only."""
    everything = _blocks(evidence, index, table, side)
    blocks = everything.of_mapped()
    count = len(blocks.expected)
    fit = ClassAreaError(table=tuple(table.tolist()), calibration={}, blocks=count)
    if count < FEWEST_BLOCKS:
        return fit
    exponent = _exponent(blocks)
    return fit.model_copy(
        update={
            "block_px": side * CELL_PX,
            "correlation": _neighbour_correlation(blocks.place, blocks.total_residuals(exponent)),
            "exponent": exponent,
            "outlines": _quantiles(blocks.outline_residuals(exponent), seed),
            "totals": _quantiles(blocks.total_residuals(exponent), seed),
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
        zone_area=add_up(evidence.zone_area[:, index]),
        true_area=add_up(evidence.true_area[:, index]),
        mapped=add_up(evidence.mapped[:, index]) > 0,
    )


def _cells_per_side(evidence: CellEvidence, index: int, table: NDArray[np.float64]) -> int:
    """Choose the side of the blocks: the smallest whose neighbours are nearly independent.

    Sides that leave too few blocks are not considered: 39 residuals give an interval, but its coverage varies by 3
    percentage points. If no side makes neighbours independent, it is the one of the lowest correlation, for which the
    intervals of sums allow.
    """
    correlations: dict[int, float] = {}
    for side in _CELLS_PER_SIDE:
        blocks = _blocks(evidence, index, table, side).of_mapped()
        if len(blocks.expected) < (_ENOUGH_BLOCKS if correlations else FEWEST_BLOCKS):
            break
        found = _neighbour_correlation(blocks.place, blocks.total_residuals(_exponent(blocks)))
        correlations[side] = 0.0 if found is None else found
        if correlations[side] < _INDEPENDENT:
            return side
    return min(correlations, key=lambda side: correlations[side], default=_CELLS_PER_SIDE[0])


def _neighbour_correlation(place: NDArray[np.int64], residuals: NDArray[np.float64]) -> float | None:
    """Return the rank correlation of blocks with those on their right and below; None with fewer than 3 pairs."""
    at = {(scene, row, col): number for number, (scene, row, col) in enumerate(place.tolist())}
    pairs = [
        (number, at[neighbour])
        for (scene, row, col), number in at.items()
        for neighbour in ((scene, row, col + 1), (scene, row + 1, col))
        if neighbour in at
    ]
    if len(pairs) < 3:
        return None
    ranks = rankdata(residuals)
    ranks -= ranks.mean()
    variance = float((ranks**2).mean())
    one, other = np.array(pairs).T
    return float((ranks[one] * ranks[other]).mean()) / variance if variance else None


def _exponent(blocks: _Blocks) -> float:
    """Choose the exponent of the scale: the one with which the size of residuals depends least on that of the area."""

    def dependence(exponent: float) -> float:
        residuals = blocks.total_residuals(exponent)
        return abs(_rank_correlation(np.abs(residuals - np.median(residuals)), blocks.uncertain))

    return float(min(_EXPONENTS, key=dependence))


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    ranks = rankdata(one), rankdata(other)
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _quantiles(residuals: NDArray[np.float64], seed: int | None) -> ResidualQuantiles:
    """Return the quantiles of the mean of M residuals.

    For one block they are those of split conformal prediction, which cover the next block with at least the nominal
    probability whatever the distribution. For more, a bootstrap in two stages: the n residuals are drawn anew, as the
    ground might have been another, and M are drawn from these.
    """
    ordered = np.sort(residuals)
    count = len(ordered)
    rank = int(np.ceil((1.0 - _TAIL) * (count + 1)))  # from 1
    low, high = [float(ordered[count - rank])], [float(ordered[rank - 1])]
    sizes = _SIZES if seed is not None else (1,)
    if len(sizes) > 1:
        generator = np.random.default_rng(seed)
        kept = min(count, _MOST_RESIDUALS)
        pool = np.quantile(ordered, (np.arange(kept) + 0.5) / kept) if kept < count else ordered
        worlds = pool[generator.integers(kept, size=(_RESAMPLES, kept))]
        for size in sizes[1:]:
            means = np.take_along_axis(worlds, generator.integers(kept, size=(_RESAMPLES, size)), axis=1).mean(axis=1)
            ends = np.quantile(means, (_TAIL, 1.0 - _TAIL))
            low.append(float(ends[0]))
            high.append(float(ends[1]))
    return ResidualQuantiles(mean=float(residuals.mean()), sizes=sizes, low=tuple(low), high=tuple(high))


def _missed_share(blocks: _Blocks, seed: int) -> MissedShare:
    missed = np.where(blocks.mapped, 0.0, blocks.true_area)
    count = len(missed)
    generator = np.random.default_rng(seed)
    shares = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        drawn = generator.integers(count, size=count)
        shares[number] = missed[drawn].sum() / max(blocks.expected[drawn].sum(), 1.0)
    low, high = np.quantile(shares, (_TAIL, 1.0 - _TAIL))
    mean = missed.sum() / max(blocks.expected.sum(), 1.0)
    return MissedShare(mean=float(mean), low=float(min(low, mean)), high=float(max(high, mean)), blocks=count)


def _folds(evidence: CellEvidence, side: int) -> NDArray[np.int64]:
    """Number each cell with one of five parts of the blocks that follow each other, so that they share few borders."""
    place, of_cell = np.unique(evidence.place // (1, side, side), axis=0, return_inverse=True)
    folds: NDArray[np.int64] = of_cell.reshape(-1) * _FOLDS // max(len(place), 1)
    return folds


def _coverage(fits: Sequence[tuple[CellEvidence, ClassAreaError]], index: int, side: int) -> Coverage:
    """Return which share of blocks the intervals of single blocks cover, each block by the error given with it."""
    of_outlines: list[NDArray[np.bool_]] = []
    of_totals: list[NDArray[np.bool_]] = []
    for evidence, error in fits:
        if error.outlines is None or error.totals is None:
            continue
        blocks = _blocks(evidence, index, error.values, side).of_mapped()
        for found, quantiles, residuals in (
            (of_outlines, error.outlines, blocks.outline_residuals(error.exponent)),
            (of_totals, error.totals, blocks.total_residuals(error.exponent)),
        ):
            found.append((quantiles.low[0] <= residuals) & (residuals <= quantiles.high[0]))
    covered = [np.concatenate(found) if found else np.zeros(0) for found in (of_outlines, of_totals)]
    shares = [float(found.mean()) if found.size else None for found in covered]
    return Coverage(blocks=len(covered[0]), outlines=shares[0], totals=shares[1])


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
