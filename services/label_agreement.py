"""How far label masks agree: with each other, with a known truth, and with the proposal that annotators were shown.

Pure functions of counts of pixels. Intervals are percentile bootstraps over patches (`models.bootstrap`), since errors
of neighbouring pixels are correlated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bootstrap import bootstrap_interval
from models.score_ratios import iou, overall_accuracy
from services.estimates import Estimate
from services.mask_counts import BLIND, OTHER, PREANNOTATED, Counts

FEWEST_PATCHES: Final = 2
"""Below this number of patches there is no interval: one patch says nothing about the spread."""
_SEED: Final = 0  # of the resamples: the same labels give the same interval


@dataclass(frozen=True)
class Comparison:
    """How far masks agree with others of the same patches.

    Attributes:
        patches: Number of patches.
        pixels: Pixels of which both name a class.
        agreement: Share of these pixels of which both name the same class.
        iou: IoU of each class, background first; None for a class that neither side names.
        left_out: Share of the pixels of which the other side names a class, and the annotator none (masked/unknown).
    """

    patches: int
    pixels: int
    agreement: Estimate | None
    iou: tuple[Estimate | None, ...]
    left_out: Estimate | None


@dataclass(frozen=True)
class AutomationBias:
    """Labels drawn from the pre-annotation against labels of the same patches drawn from an empty mask.

    All are compared on the pixels of which the three masks of a patch name a class.

    Attributes:
        labels: The two labels with each other.
        preannotated: Labels from the pre-annotation with it.
        blind: Labels from an empty mask with the pre-annotation that their annotators did not see.
        pull: Agreement of the former with the pre-annotation minus that of the latter: above 0, annotators leave more
            of it as it is than they would have drawn.
        pull_iou: The same difference of the IoU of each class.
    """

    labels: Comparison
    preannotated: Comparison
    blind: Comparison
    pull: Estimate | None
    pull_iou: tuple[Estimate | None, ...]


def compare(counts: Sequence[NDArray[np.int64]]) -> Comparison | None:
    """Estimate how far masks agree; None without patches.

    Args:
        counts: Of each patch, (K, K + 1) as `services.mask_counts.count` returns them.
    """
    if not counts:
        return None
    stacked = np.stack(counts)
    agreement, left_out, *ious = _estimates(stacked, _scores)
    return Comparison(len(counts), int(stacked[..., :-1].sum()), agreement, tuple(ious), left_out)


def measure_bias(of_patches: Sequence[Counts]) -> AutomationBias | None:
    """Compare labels from pre-annotations with blind ones of the same patches; None without any.

    Args:
        of_patches: Of each patch, (3, K, K + 1) as `services.mask_counts.count_triple`
            returns them.
    """
    if not of_patches:
        return None
    counts = np.stack(of_patches)
    pull, *pull_iou = _estimates(counts, _pull)
    compared = [compare(list(counts[:, number])) for number in (OTHER, PREANNOTATED, BLIND)]
    labels, preannotated, blind = (item for item in compared if item is not None)
    return AutomationBias(labels, preannotated, blind, pull, tuple(pull_iou))


def _scores(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return agreement, share left out and IoU by class (..., K + 2) of counts (..., K, K + 1)."""
    named = counts[..., :-1]
    total = counts.sum(axis=(-2, -1)).astype(np.float64)
    left_out = np.full(total.shape, np.nan)
    np.divide(counts[..., -1].sum(axis=-1), total, out=left_out, where=total > 0)
    both = np.stack([overall_accuracy(named), left_out], axis=-1)
    return np.concatenate([both, iou(named)], axis=-1)


def _pull(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the differences (..., K + 1) of agreement and IoU with the proposal, of counts (..., 3, K, K + 1)."""
    scores = _scores(counts)
    difference = scores[..., PREANNOTATED, :] - scores[..., BLIND, :]
    return np.delete(difference, 1, axis=-1)  # the share left out is 0 on these pixels


def _estimates(
    counts: NDArray[np.int64], statistic: Callable[[NDArray[Any]], NDArray[np.float64]]
) -> list[Estimate | None]:
    """Return each score of the pooled counts (P, ...) with its interval; None where it is undefined."""
    patches = len(counts)
    values = statistic(counts.sum(axis=0))
    interval = bootstrap_interval(counts, statistic, np.random.default_rng(_SEED))
    found: list[Estimate | None] = []
    for value, low, high in zip(values.tolist(), interval.low.tolist(), interval.high.tolist(), strict=True):
        is_known = patches >= FEWEST_PATCHES
        estimate = Estimate(value, low if is_known else None, high if is_known else None, patches)
        found.append(None if np.isnan(value) else estimate)
    return found
