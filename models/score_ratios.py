"""The scores of a segmentation as vectorised functions of confusion matrices.

All take counts (..., K, K), rows the truth and columns the prediction, and work over the last two axes, so that one
call scores one matrix or all the resamples of a bootstrap. A ratio whose denominator is 0 is undefined, and NaN: never
0, never 1. TP, FP, FN are the pixels of a class hit, falsely claimed and missed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Scores = NDArray[np.float64]


def iou(confusion: Counts) -> Scores:
    """Intersection over union of each class, TP / (TP + FP + FN): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(_hit(confusion), _claimed(confusion) + _true(confusion) - _hit(confusion))


def precision(confusion: Counts) -> Scores:
    """Precision of each class, TP / (TP + FP): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(_hit(confusion), _claimed(confusion))


def recall(confusion: Counts) -> Scores:
    """Recall of each class, TP / (TP + FN): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(_hit(confusion), _true(confusion))


def false_alarm(confusion: Counts) -> Scores:
    """False alarm rate of each class, FP / (TP + FP) (He et al., eq. 2): (..., K, K) counts to (..., K) or NaN."""
    return _ratio(_claimed(confusion) - _hit(confusion), _claimed(confusion))


def missed_alarm(confusion: Counts) -> Scores:
    """Missed alarm rate of each class, FN / (TP + FN) (He et al., eq. 3): (..., K, K) counts to (..., K) or NaN."""
    return _ratio(_true(confusion) - _hit(confusion), _true(confusion))


def overall_accuracy(confusion: Counts) -> Scores:
    """Share of pixels that are right (He et al., eq. 4): (..., K, K) counts to (...) in [0, 1] or NaN."""
    return _ratio(_hit(confusion).sum(axis=-1), _total(confusion))


def kappa(confusion: Counts) -> Scores:
    """Cohen's kappa, (accuracy - chance) / (1 - chance) (Cohen 1960; He et al., eqs. 5 and 6).

    Args:
        confusion: (..., K, K) counts.

    Returns:
        (...) in [-1, 1]; NaN without pixels, or when agreement by chance is certain.
    """
    chance = _ratio((_claimed(confusion) * _true(confusion)).sum(axis=-1), _total(confusion) ** 2)
    return _ratio(overall_accuracy(confusion) - chance, 1.0 - chance)


def mean_of_defined(values: Scores) -> Scores:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def _hit(confusion: Counts) -> Scores:
    hit: Scores = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return hit


def _claimed(confusion: Counts) -> Scores:
    claimed: Scores = confusion.sum(axis=-2, dtype=np.float64)
    return claimed


def _true(confusion: Counts) -> Scores:
    true: Scores = confusion.sum(axis=-1, dtype=np.float64)
    return true


def _total(confusion: Counts) -> Scores:
    total: Scores = confusion.sum(axis=(-2, -1), dtype=np.float64)
    return total


def _ratio(numerator: Scores, denominator: Scores) -> Scores:
    """Divide, with NaN where the denominator is 0 or NaN."""
    undefined = np.full(np.shape(denominator), np.nan)
    quotient: Scores = np.divide(numerator, denominator, out=undefined, where=np.abs(denominator) > 0)
    return quotient
