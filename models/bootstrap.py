"""Confidence intervals of pooled scores: percentile bootstrap over patches.

Errors of neighbouring pixels are correlated, so intervals from pixel counts are far too narrow. Patches are resampled
instead. Adjacent patches are not quite independent either: the true intervals are at least as wide as these.

With few patches percentile intervals are too narrow, whatever is resampled (Efron & Tibshirani 1993, section 13.7).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ENOUGH_PATCHES: Final = 64
"""From here on a 95 % interval of IoU covered the true value in 95 % of simulated samples; of 8 patches, in 82 to 90 %
(the more the patches differ, the less)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of one or more scores.

    Attributes:
        low: Lower ends, in the shape of the statistic; NaN where no resample defines the score.
        high: Upper ends, likewise.
        defined: Share in [0, 1] of the resamples that define the score; the ends are percentiles of those alone.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    defined: NDArray[np.float64]


def bootstrap_interval(
    counts: NDArray[np.integer],
    statistic: Callable[[NDArray[Any]], NDArray[np.float64]],
    generator: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
    draws: int | None = None,
) -> Interval:
    """Return the percentile interval (Efron & Tibshirani 1993, chapter 13) of a score of pooled counts.

    Each resample draws as many patches as there are with replacement and adds up their counts; the score is computed
    once from the sum, never patch by patch. To compare two models on the same patches, stack their matrices to
    (P, 2, K, K) and let the statistic be the difference: both are then resampled together.

    Args:
        counts: (P, ...) one array of counts for each patch, above all (P, K, K) confusion matrices.
        statistic: Maps pooled counts (B, ...) to scores (B, ...), NaN where undefined: a function of
            :mod:`models.score_ratios`.
        generator: Draws the patches; the same state gives the same interval.
        resamples: B, the number of resamples. Memory grows with B * P.
        confidence: Probability that the interval covers the score, between 0 and 1.
        draws: Number of patches in a resample; P by default. Fewer allow for patches that are not independent, of which
            P are worth only so many (m out of n bootstrap; Bickel, Götze & van Zwet 1997).

    Returns:
        The interval, in the shape of one score. Without patches the ends are NaN.

    Raises:
        ValueError: ``resamples`` or ``draws`` is below 1, or ``confidence`` not between 0 and 1.
    """
    drawn = len(counts) if draws is None else draws
    if resamples < 1 or not 0.0 < confidence < 1.0 or (draws is not None and draws < 1):
        raise ValueError(
            f"found {resamples} resamples of {drawn} patches and confidence {confidence}; expected at least 1 of each "
            "and a number between 0 and 1"
        )
    scores = statistic(_resampled_totals(counts, generator, resamples, drawn))
    tail = (1.0 - confidence) / 2.0
    defined = ~np.isnan(scores)
    ends = _percentiles_of_defined(scores, (tail, 1.0 - tail))
    return Interval(low=ends[0], high=ends[1], defined=defined.mean(axis=0))


def _resampled_totals(
    counts: NDArray[np.integer], generator: np.random.Generator, resamples: int, draws: int
) -> NDArray[np.float64]:
    """Return the pooled counts (B, ...) of B resamples of so many draws."""
    patches, shape = len(counts), counts.shape[1:]
    if patches == 0:
        return np.zeros((resamples, *shape))
    times_drawn = generator.multinomial(draws, np.full(patches, 1.0 / patches), size=resamples)
    # NumPy uses BLAS for float64 products only, not for integers; float64 is exact up to 2^53 pixels.
    totals: NDArray[np.float64] = times_drawn.astype(np.float64) @ counts.reshape(patches, -1).astype(np.float64)
    return totals.reshape(resamples, *shape)


def _percentiles_of_defined(scores: NDArray[np.float64], levels: tuple[float, float]) -> NDArray[np.float64]:
    """Return percentiles (2, ...) over the first axis, ignoring NaN; NaN where all values are NaN."""
    columns = scores.reshape(len(scores), -1).T
    ends = np.full((len(levels), len(columns)), np.nan)
    for index, column in enumerate(columns):
        defined = column[~np.isnan(column)]
        if defined.size:
            ends[:, index] = np.quantile(defined, levels)
    return ends.reshape(len(levels), *scores.shape[1:])
