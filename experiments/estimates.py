"""Scores of networks, each trained with several seeds, with what they are worth: spread over seeds, doubt over windows.

Every score is pooled over all test windows of a seed, then averaged over the seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.networks import Confusions
from imagery.classes import BACKGROUND, CLASSES, CLEAN_ICE, DEBRIS_COVERED_ICE
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

Measure = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Takes counts (..., K, K) to scores (...)."""

_BOOTSTRAP_SEED: Final = 0


def _of_glacier(ratio: Measure) -> Measure:
    """A score of clean and debris-covered ice together."""
    return lambda counts: ratio(glacier_confusion(counts, BACKGROUND.value))


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
        low: Lower end of the 95 % bootstrap interval of the mean, over test windows.
        high: Upper end.
    """

    value: float
    spread: float
    low: float
    high: float


def of_part(results: Sequence[Mapping[str, Any]], part: str = "test") -> Confusions:
    """Stack the counts of one kind of cell, (P, S, K, K) for P windows and S seeds."""
    return np.stack([np.array(result["confusions"][part], dtype=np.int64) for result in results], axis=1)


def estimate(counts: Confusions, measure: str) -> Estimate | None:
    """Score one kind of network.

    Args:
        counts: (P, S, K, K), see :func:`of_part`.
        measure: A key of :data:`MEASURES`.

    Returns:
        The score, or None if the network does not tell what is measured: K = 2 knows no kinds of ice.
    """
    return _summary(counts, MEASURES[measure]) if _tells(counts, measure) else None


def difference(counts: Confusions, reference: Confusions, measure: str) -> Estimate | None:
    """Score one kind of network less another on the very same windows, which are drawn together.

    Args:
        counts: (P, S, K, K).
        reference: (P, S, L, L), of as many seeds: those of equal number are compared.
        measure: A key of :data:`MEASURES`.

    Returns:
        The difference, or None if one of them does not tell what is measured.
    """
    if not (_tells(counts, measure) and _tells(reference, measure)):
        return None
    if counts.shape[-1] != reference.shape[-1]:  # then what is measured is glacier, and two classes say all of it
        counts, reference = (glacier_confusion(both, BACKGROUND.value) for both in (counts, reference))
    score = MEASURES[measure]
    both = np.stack(np.broadcast_arrays(counts, reference), axis=2)
    return _summary(both, lambda pair: score(pair[..., 0, :, :]) - score(pair[..., 1, :, :]))


def _summary(counts: NDArray[np.int64], measure: Measure) -> Estimate:
    """Summarise counts (P, S, ...) that a measure takes to one score a seed."""
    of_seeds = measure(counts.sum(axis=0))
    interval = bootstrap_interval(
        counts, lambda drawn: measure(drawn).mean(axis=-1), np.random.default_rng(_BOOTSTRAP_SEED)
    )
    return Estimate(
        value=float(of_seeds.mean()),
        spread=float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else float("nan"),
        low=float(interval.low),
        high=float(interval.high),
    )


def _tells(counts: Confusions, measure: str) -> bool:
    return counts.shape[-1] == len(CLASSES) or measure not in {CLEAN_IOU, DEBRIS_IOU}
