"""Scores of networks, each trained with several seeds, with what they are worth: spread over seeds, and intervals.

Every score is pooled over all test windows of a seed, then averaged over the seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME
from models import score_ratios
from models.bootstrap import bootstrap_interval
from models.debris_share import glacier_confusion

GLACIER_IOU: Final = "glacier IoU"
CLEAN_IOU: Final = "clean ice IoU"
DEBRIS_IOU: Final = "debris IoU"
ICE_IOU: Final = (GLACIER_IOU, CLEAN_IOU, DEBRIS_IOU)

MISSED_ALARM: Final = "missed alarm"
FALSE_ALARM: Final = "false alarm"
ACCURACY: Final = "accuracy"
KAPPA: Final = "kappa"
BINARY_SCORES: Final = (MISSED_ALARM, FALSE_ALARM, ACCURACY, KAPPA)
"""Of glacier against background, as He et al. report them."""

HOW_TO_READ: Final = (
    "Values are means over the seeds ± their standard deviation, all of pooled counts; in brackets 95 % bootstrap "
    "intervals, for which blocks of 2 x 2 windows and seeds are drawn again. Differences are of the same windows and "
    "seeds."
)

Counts = NDArray[np.int64]
"""(B, S, K, K) pixels of B blocks of windows and S seeds; rows are the truth, columns the prediction."""

Measure = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Takes counts (..., K, K) to scores (...)."""

_BOOTSTRAP_SEED: Final = 0


def _of_glacier(ratio: Measure) -> Measure:
    """A score of clean and debris-covered ice together."""
    return lambda counts: ratio(glacier_confusion(counts, BACKGROUND))


MEASURES: Final[Mapping[str, Measure]] = {
    GLACIER_IOU: _of_glacier(lambda counts: score_ratios.iou(counts)[..., 1]),
    CLEAN_IOU: lambda counts: score_ratios.iou(counts)[..., CLEAN_ICE.value],
    DEBRIS_IOU: lambda counts: score_ratios.iou(counts)[..., DEBRIS_COVERED_ICE.value],
    MISSED_ALARM: _of_glacier(lambda counts: score_ratios.missed_alarm(counts)[..., 1]),
    FALSE_ALARM: _of_glacier(lambda counts: score_ratios.false_alarm(counts)[..., 1]),
    ACCURACY: _of_glacier(score_ratios.overall_accuracy),
    KAPPA: _of_glacier(score_ratios.kappa),
}


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of two.

    Attributes:
        value: Mean over the seeds; NaN where undefined.
        spread: Sample standard deviation over the seeds; NaN of a single one.
        low: Lower end of the 95 % bootstrap interval of the mean, over blocks of windows and over seeds.
        high: Upper end.
    """

    value: float
    spread: float
    low: float
    high: float


def counts_of(
    results: Sequence[Mapping[str, Any]],
    blocks: NDArray[np.int64],
    part: str = "test",
    kept: NDArray[np.bool_] | None = None,
) -> Counts:
    """Gather the counts of one kind of network.

    Args:
        results: Of trials, one a seed.
        blocks: (P,) the block of each window of the part (`experiments.division.Division.blocks`).
        part: The part of the division.
        kept: (P,) which windows count; all by default.

    Returns:
        (B, S, K, K): windows added up by block, which is what the bootstrap draws; blocks without a window left out.
    """
    windows = np.stack([np.array(result["confusions"][part], dtype=np.int64) for result in results], axis=1)
    if kept is not None:
        windows, blocks = windows[kept], blocks[kept]
    numbers, places = np.unique(blocks, return_inverse=True)
    counts = np.zeros((len(numbers), *windows.shape[1:]), dtype=np.int64)
    np.add.at(counts, places, windows)
    return counts


def estimate(counts: Counts, measure: str) -> Estimate | None:
    """Score one kind of network.

    Args:
        counts: (B, S, K, K), see :func:`counts_of`.
        measure: A key of :data:`MEASURES`.

    Returns:
        The score, or None if the network does not tell what is measured: K = 2 knows no kinds of ice.
    """
    return _summary(counts, MEASURES[measure]) if _tells(counts, measure) else None


def difference(counts: Counts, reference: Counts, measure: str) -> Estimate | None:
    """Score one kind of network less another, on the very same windows, which are drawn together.

    Args:
        counts: (B, S, K, K).
        reference: (B, S, L, L) of the same blocks; seeds of equal number are compared, and a single one with all.
        measure: A key of :data:`MEASURES`.

    Returns:
        The difference, or None if one of them does not tell what is measured.
    """
    if not (_tells(counts, measure) and _tells(reference, measure)):
        return None
    if counts.shape[-1] != reference.shape[-1]:  # then what is measured is glacier, and two classes say all of it
        counts, reference = (glacier_confusion(both, BACKGROUND) for both in (counts, reference))
    score = MEASURES[measure]
    both = np.stack(np.broadcast_arrays(counts, reference), axis=2)
    return _summary(both, lambda pair: score(pair[..., 0, :, :]) - score(pair[..., 1, :, :]))


def _summary(counts: NDArray[np.int64], measure: Measure) -> Estimate:
    """Summarise counts (B, S, ...) that a measure takes to one score a seed."""
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
    )


def _tells(counts: Counts, measure: str) -> bool:
    return counts.shape[-1] == len(GLACIER_SCHEME.classes) or measure not in {CLEAN_IOU, DEBRIS_IOU}
