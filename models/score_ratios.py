"""The scores of a segmentation as vectorised functions of confusion matrices.

All take counts (..., K, K), rows the truth and columns the prediction, and work over the last two axes, so one call
scores one matrix or all resamples of a bootstrap. A ratio whose denominator is 0 is undefined, and NaN: never
0, never 1. TP, FP and FN are the true positives, false positives and false negatives of a class, in pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Scores = NDArray[np.float64]


def iou(confusion: Counts) -> Scores:
    """Return the IoU of each class, TP / (TP + FP + FN): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(
        _true_positives(confusion), _predicted_pixels(confusion) + _support(confusion) - _true_positives(confusion)
    )


def precision(confusion: Counts) -> Scores:
    """Return the precision of each class, TP / (TP + FP): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(_true_positives(confusion), _predicted_pixels(confusion))


def recall(confusion: Counts) -> Scores:
    """Return the recall of each class, TP / (TP + FN): (..., K, K) counts to (..., K) in [0, 1] or NaN."""
    return _ratio(_true_positives(confusion), _support(confusion))


def false_alarm(confusion: Counts) -> Scores:
    """Return the false alarm rate of each class, FP / (TP + FP) (He et al., eq. 2): (..., K, K) counts to (..., K)."""
    return _ratio(_predicted_pixels(confusion) - _true_positives(confusion), _predicted_pixels(confusion))


def missed_alarm(confusion: Counts) -> Scores:
    """Return the missed alarm rate of each class, FN / (TP + FN) (He et al., eq. 3): (..., K, K) counts to (..., K)."""
    return _ratio(_support(confusion) - _true_positives(confusion), _support(confusion))


def overall_accuracy(confusion: Counts) -> Scores:
    """Return the share of correctly classified pixels (He et al., eq. 4): (..., K, K) counts to (...) in [0, 1]."""
    return _ratio(_true_positives(confusion).sum(axis=-1), _all_pixels(confusion))


def kappa(confusion: Counts) -> Scores:
    """Return Cohen's kappa, (accuracy - chance) / (1 - chance) (Cohen 1960; He et al., eqs. 5 and 6).

    Args:
        confusion: (..., K, K) counts.

    Returns:
        (...) in [-1, 1]; NaN without pixels, or when agreement by chance is certain.
    """
    chance = _ratio((_predicted_pixels(confusion) * _support(confusion)).sum(axis=-1), _all_pixels(confusion) ** 2)
    return _ratio(overall_accuracy(confusion) - chance, 1.0 - chance)


def mean_iou(confusion: Counts) -> Scores:
    """Return the mean IoU over the classes that have true pixels.

    Which classes these are depends on the truth alone, so the means of two predictions of the same ground are over the
    same classes. (Over the classes with a defined IoU they are not: the IoU of a class without true pixels is 0 from
    the first pixel that is predicted as it, and undefined before.) Such a pixel counts as missing in its true class.

    Args:
        confusion: (..., K, K) counts.

    Returns:
        (...) in [0, 1]; NaN without pixels.
    """
    present = _support(confusion) > 0
    return _ratio(np.where(present, iou(confusion), 0.0).sum(axis=-1), present.sum(axis=-1, dtype=np.float64))


def _true_positives(confusion: Counts) -> Scores:
    diagonal: Scores = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return diagonal


def _predicted_pixels(confusion: Counts) -> Scores:
    columns: Scores = confusion.sum(axis=-2, dtype=np.float64)
    return columns


def _support(confusion: Counts) -> Scores:
    rows: Scores = confusion.sum(axis=-1, dtype=np.float64)
    return rows


def _all_pixels(confusion: Counts) -> Scores:
    total: Scores = confusion.sum(axis=(-2, -1), dtype=np.float64)
    return total


def _ratio(numerator: Scores, denominator: Scores) -> Scores:
    """Divide, with NaN where the denominator is 0 or NaN."""
    undefined = np.full(np.shape(denominator), np.nan)
    quotient: Scores = np.divide(numerator, denominator, out=undefined, where=np.abs(denominator) > 0)
    return quotient
