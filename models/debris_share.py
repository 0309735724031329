"""Glacier IoU on subsets of ever more debris, for binary and multiclass predictions alike.

This is Table 3 of Baraka et al. 2020, computable for any evaluation set: binary, multiclass, and their difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import score_ratios
from models.bootstrap import bootstrap_interval

BARAKA_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.10)


@dataclass(frozen=True)
class SubsetScore:
    """The score, or the gain in it, of the patches with more than some share of debris.

    Attributes:
        more_than: The share in [0, 1) that the debris of a patch must exceed.
        patches: Patches in the subset.
        value: Glacier IoU pooled over the subset, or the gain in it; NaN where undefined, as in an empty subset.
        low: Lower end of the bootstrap interval over patches.
        high: Upper end.
    """

    more_than: float
    patches: int
    value: float
    low: float
    high: float


def debris_share(truth: NDArray[np.integer], debris: int, ignore_index: int) -> float:
    """Share of debris among the judged pixels of one patch.

    Args:
        truth: True classes of any shape, or ``ignore_index``. Always the multiclass truth, also where a binary
            prediction is scored: merged classes do not tell debris.
        debris: The class of debris-covered ice.
        ignore_index: Value of pixels that nobody judged; they count neither above nor below the line.

    Returns:
        In [0, 1]; NaN without a judged pixel.
    """
    judged = truth != ignore_index
    return float((truth[judged] == debris).mean()) if judged.any() else float("nan")


def glacier_confusion(confusion: NDArray[np.int64], background: int) -> NDArray[np.int64]:
    """Merge all classes but the background into one, which makes multiclass and binary predictions comparable.

    Clean ice taken for debris is then glacier taken for glacier, and right. A 2 x 2 matrix whose background is 0 stays
    as it is.

    Args:
        confusion: (..., K, K) counts; rows are the truth, columns the prediction.
        background: The class that is no glacier.

    Returns:
        (..., 2, 2) counts; 0 is background, 1 glacier.
    """
    glacier = np.arange(confusion.shape[-1]) != background
    members = np.stack([~glacier, glacier]).astype(np.int64)
    merged: NDArray[np.int64] = members @ confusion @ members.T
    return merged


def scores_by_debris_share(
    confusions: NDArray[np.int64],
    shares: NDArray[np.float64],
    background: int,
    generator: np.random.Generator,
    thresholds: Sequence[float] = BARAKA_THRESHOLDS,
) -> list[SubsetScore]:
    """Pooled glacier IoU, with a 95 % bootstrap interval, of the patches with more than each share of debris.

    The subsets are nested. The IoU is taken once of the subset's summed counts, never as a mean over patches.

    Args:
        confusions: (P, K, K) counts of each patch, of any prediction, binary (K = 2) or multiclass.
        shares: (P,) debris share of each patch (:func:`debris_share`); a patch with NaN is in no subset.
        background: The class that is no glacier, in ``confusions``.
        generator: Draws the patches of the bootstrap.
        thresholds: Shares in [0, 1] that must be exceeded.

    Returns:
        One score for each threshold, in their order.

    Raises:
        ValueError: There is not one share for each matrix, or shares or thresholds lie outside [0, 1].
    """
    _check(confusions, shares, thresholds)
    merged = glacier_confusion(confusions, background)
    return [_score(merged[shares > threshold], threshold, _glacier_iou, generator) for threshold in thresholds]


def gains_by_debris_share(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    shares: NDArray[np.float64],
    background: int,
    generator: np.random.Generator,
    thresholds: Sequence[float] = BARAKA_THRESHOLDS,
) -> list[SubsetScore]:
    """Glacier IoU of one prediction less that of another on the very same patches (Table 3's "IoU difference").

    Both are resampled together, patch by patch. What makes a patch hard for one makes it hard for the other, so that
    this interval is much narrower than the two separate ones suggest: a gain is there when it excludes 0.

    Args:
        before: (P, K, K) counts of each patch, as the binary model's.
        after: (P, L, L) counts of the same patches, as the multiclass model's.
        shares: (P,) debris share of each patch; a patch with NaN is in no subset.
        background: The class that is no glacier, in both.
        generator: Draws the patches of the bootstrap.
        thresholds: Shares in [0, 1] that must be exceeded.

    Returns:
        One difference for each threshold, in [-1, 1] or NaN, in their order.

    Raises:
        ValueError: As :func:`scores_by_debris_share`, for either.
    """
    _check(before, shares, thresholds)
    _check(after, shares, thresholds)
    both = np.stack([glacier_confusion(before, background), glacier_confusion(after, background)], axis=1)
    return [_score(both[shares > threshold], threshold, _glacier_iou_gain, generator) for threshold in thresholds]


def _check(confusions: NDArray[np.int64], shares: NDArray[np.float64], thresholds: Sequence[float]) -> None:
    if confusions.ndim != 3 or shares.shape != confusions.shape[:1]:
        raise ValueError(
            f"found confusion matrices of shape {confusions.shape} and shares of shape {shares.shape}; "
            "expected (P, K, K) and (P,)"
        )
    if found := [float(value) for value in (*shares, *thresholds) if value < 0.0 or value > 1.0]:
        raise ValueError(f"shares and thresholds must lie in [0, 1]; found {found}; divide percentages by 100")


def _score(
    counts: NDArray[np.int64],
    threshold: float,
    statistic: Callable[[NDArray[Any]], NDArray[np.float64]],
    generator: np.random.Generator,
) -> SubsetScore:
    interval = bootstrap_interval(counts, statistic, generator)
    return SubsetScore(
        more_than=threshold,
        patches=len(counts),
        value=float(statistic(counts.sum(axis=0))),
        low=float(interval.low),
        high=float(interval.high),
    )


def _glacier_iou(merged: NDArray[Any]) -> NDArray[np.float64]:
    """IoU (...) of class 1 of (..., 2, 2) counts."""
    return score_ratios.iou(merged)[..., 1]


def _glacier_iou_gain(both: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of the second less that of the first of (..., 2, 2, 2) counts."""
    of_each = _glacier_iou(both)
    gain: NDArray[np.float64] = of_each[..., 1] - of_each[..., 0]
    return gain
