"""Scores of networks that are trained with several seeds: mean, spread over the seeds, and bootstrap interval.

The counts of all test windows of a seed are pooled to one score; the scores are averaged over the seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME
from models import score_ratios
from models.bootstrap import ENOUGH_PATCHES, bootstrap_interval
from models.debris_share import glacier_confusion

GLACIER_IOU: Final = "glacier IoU"
CLEAN_IOU: Final = "clean ice IoU"
DEBRIS_IOU: Final = "debris IoU"
ICE_IOU: Final = (GLACIER_IOU, CLEAN_IOU, DEBRIS_IOU)

CLEAN_PRECISION: Final = "clean ice precision"
CLEAN_RECALL: Final = "clean ice recall"
DEBRIS_PRECISION: Final = "debris precision"
DEBRIS_RECALL: Final = "debris recall"
PRECISION_AND_RECALL: Final = (CLEAN_PRECISION, CLEAN_RECALL, DEBRIS_PRECISION, DEBRIS_RECALL)

PIXELS_TO_EDIT: Final = "share of pixels to edit"

MISSED_ALARM: Final = "missed alarm"
FALSE_ALARM: Final = "false alarm"
ACCURACY: Final = "accuracy"
KAPPA: Final = "kappa"
BINARY_SCORES: Final = (MISSED_ALARM, FALSE_ALARM, ACCURACY, KAPPA)
"""Of glacier against background, as He et al. report them."""

Counts = NDArray[np.int64]
"""(B, S, K, K) pixels of B blocks of windows and S seeds; rows are the truth, columns the prediction."""

Measure = Callable[[NDArray[Any]], NDArray[np.float64]]
"""A function from counts (..., K, K) to scores (...)."""

_BOOTSTRAP_SEED: Final = 0


def _of_glacier(ratio: Measure) -> Measure:
    """Return the measure that scores clean and debris-covered ice as one class."""
    return lambda counts: ratio(glacier_confusion(counts, BACKGROUND))


MEASURES: Final[Mapping[str, Measure]] = {
    GLACIER_IOU: _of_glacier(lambda counts: score_ratios.iou(counts)[..., 1]),
    CLEAN_IOU: lambda counts: score_ratios.iou(counts)[..., CLEAN_ICE.value],
    DEBRIS_IOU: lambda counts: score_ratios.iou(counts)[..., DEBRIS_COVERED_ICE.value],
    CLEAN_PRECISION: lambda counts: score_ratios.precision(counts)[..., CLEAN_ICE.value],
    CLEAN_RECALL: lambda counts: score_ratios.recall(counts)[..., CLEAN_ICE.value],
    DEBRIS_PRECISION: lambda counts: score_ratios.precision(counts)[..., DEBRIS_COVERED_ICE.value],
    DEBRIS_RECALL: lambda counts: score_ratios.recall(counts)[..., DEBRIS_COVERED_ICE.value],
    PIXELS_TO_EDIT: lambda counts: 1.0 - score_ratios.overall_accuracy(counts),
    MISSED_ALARM: _of_glacier(lambda counts: score_ratios.missed_alarm(counts)[..., 1]),
    FALSE_ALARM: _of_glacier(lambda counts: score_ratios.false_alarm(counts)[..., 1]),
    ACCURACY: _of_glacier(score_ratios.overall_accuracy),
    KAPPA: _of_glacier(score_ratios.kappa),
}


@dataclass(frozen=True)
class Estimate:
    """A score, or the difference of two scores.

    Attributes:
        value: Mean over the seeds; NaN where undefined.
        spread: Sample standard deviation over the seeds; NaN of a single one.
        low: Lower end of the 95 % interval of the mean: of the bootstrap over blocks of windows and over seeds, unless
            the findings say otherwise; NaN without an interval.
        high: Upper end.
        blocks: Number of blocks that the interval is of; None without an interval.
    """

    value: float
    spread: float
    low: float
    high: float
    blocks: int | None = None


def how_to_read(blocks: int | None = None) -> str:
    """Return the note that explains values and intervals.

    Args:
        blocks: Number of blocks of windows behind all intervals; None if it differs from row to row and has a column.
    """
    number = "the number of blocks is in the tables" if blocks is None else f"there are {blocks} blocks"
    few = blocks is None or blocks < ENOUGH_PATCHES
    caution = (
        f", and with fewer than {ENOUGH_PATCHES} such intervals are too narrow: of 8 blocks they cover the true value "
        "in 82 to 90 % of cases"
        if few
        else ""
    )
    return (
        "Values are means over the seeds ± their standard deviation, from pooled counts; in brackets 95 % bootstrap "
        f"intervals, for which blocks of 2 x 2 windows and seeds are resampled; {number}{caution}. Differences are "
        "between the same windows and seeds."
    )


def counts_of(
    results: Sequence[Mapping[str, Any]],
    blocks: NDArray[np.int64],
    part: str = "test",
    kept: NDArray[np.bool_] | None = None,
) -> Counts:
    """Return the counts of one kind of network, added up by block.

    Args:
        results: Results of trials, one a seed.
        blocks: (P,) block of each window of the part (`experiments.division.Division.blocks`).
        part: The part of the division.
        kept: (P,) True for the windows to count; all by default.

    Returns:
        (B, S, K, K): the sums over the windows of each block, which the bootstrap draws; empty blocks are left out.
    """
    windows = np.stack([np.array(result["confusions"][part], dtype=np.int64) for result in results], axis=1)
    return _by_block(windows, blocks) if kept is None else _by_block(windows[kept], blocks[kept])


def numbers_of(of_windows: Sequence[Sequence[int]], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return something that was counted in each window, and the windows, added up by block.

    Args:
        of_windows: The numbers of the windows, (S, P): one sequence a seed.
        blocks: (P,) block of each window.

    Returns:
        (B, S, 2): the sum of the numbers, and the number of windows.
    """
    found = np.array(of_windows, dtype=np.int64).T
    return _by_block(np.stack([found, np.ones_like(found)], axis=-1), blocks)


def rate(numbers: NDArray[np.int64]) -> Estimate:
    """Return the mean number a window, of (B, S, 2) from :func:`numbers_of`."""
    return _summary(numbers, _rate)


def rate_difference(numbers: NDArray[np.int64], reference: NDArray[np.int64]) -> Estimate:
    """Return the mean number a window minus that of another method, see :func:`difference`."""
    both = np.stack(np.broadcast_arrays(numbers, reference), axis=2)
    return _summary(both, lambda pair: _rate(pair[..., 0, :]) - _rate(pair[..., 1, :]))


def estimate(counts: Counts, measure: str) -> Estimate | None:
    """Return the score of one kind of network.

    Args:
        counts: (B, S, K, K), see :func:`counts_of`.
        measure: A key of :data:`MEASURES`.

    Returns:
        The score; None if it is undefined for the network: with K = 2 clean and debris-covered ice are one class.
    """
    return _summary(counts, MEASURES[measure]) if _is_defined(counts, measure) else None


def difference(counts: Counts, reference: Counts, measure: str) -> Estimate | None:
    """Return the score of one kind of network minus that of another; the bootstrap draws the same windows for both.

    Args:
        counts: (B, S, K, K).
        reference: (B, S, L, L) of the same blocks; equal seeds are compared, and a single seed with all seeds.
        measure: A key of :data:`MEASURES`.

    Returns:
        The difference; None if the score is undefined for one of them.
    """
    if not (_is_defined(counts, measure) and _is_defined(reference, measure)):
        return None
    if counts.shape[-1] != reference.shape[-1]:  # the measure is of glacier as one class
        counts, reference = (glacier_confusion(both, BACKGROUND) for both in (counts, reference))
    score = MEASURES[measure]
    both = np.stack(np.broadcast_arrays(counts, reference), axis=2)
    return _summary(both, lambda pair: score(pair[..., 0, :, :]) - score(pair[..., 1, :, :]))


def _rate(numbers: NDArray[Any]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = numbers[..., 0] / numbers[..., 1]
    return mean


def _by_block(windows: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up the windows (P, ...) of each block, (B, ...)."""
    numbers, places = np.unique(blocks, return_inverse=True)
    sums = np.zeros((len(numbers), *windows.shape[1:]), dtype=np.int64)
    np.add.at(sums, places, windows)
    return sums


def _summary(counts: NDArray[np.int64], measure: Measure) -> Estimate:
    """Return the mean, spread and interval of a measure that maps counts (B, S, ...) to one score a seed."""
    of_seeds = measure(counts.sum(axis=0))
    generator = np.random.default_rng(_BOOTSTRAP_SEED)

    def mean_of_drawn_seeds(drawn: NDArray[Any]) -> NDArray[np.float64]:
        scores = measure(drawn)
        chosen = generator.integers(scores.shape[-1], size=scores.shape)
        mean: NDArray[np.float64] = np.take_along_axis(scores, chosen, axis=-1).mean(axis=-1)
        return mean

    interval = bootstrap_interval(counts, mean_of_drawn_seeds, generator)
    return Estimate(
        value=float(of_seeds.mean()),
        spread=float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else float("nan"),
        low=float(interval.low),
        high=float(interval.high),
        blocks=len(counts),
    )


def _is_defined(counts: Counts, measure: str) -> bool:
    of_kinds = {CLEAN_IOU, DEBRIS_IOU, *PRECISION_AND_RECALL}  # clean and debris-covered ice each
    return counts.shape[-1] == len(GLACIER_SCHEME.classes) or measure not in of_kinds
