"""Means, ratios and slopes with Student's t intervals, for the few values that a running project has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Estimate:
    """An estimated quantity with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end; None where too few values tell nothing about the spread.
        high: Upper end, likewise.
        count: Number of values that it is estimated from.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    def times(self, factor: float) -> "Estimate":
        """Return the estimate in another unit; ``factor`` is positive."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high, self.count)


def mean(values: Sequence[float]) -> Estimate | None:
    """Return the mean of independent values; None without any. Two give an interval."""
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return _estimate(float(np.mean(values)), spread, len(values), len(values) - 1)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | None:
    """Return the ratio of two sums over the same independent units (Cochran 1977, section 6.4, linearised).

    Returns:
        None if the denominators add up to nothing.
    """
    total = sum(denominators)
    if total <= 0:
        return None
    value = sum(numerators) / total
    residuals = np.subtract(numerators, np.multiply(value, denominators)) * len(denominators) / total
    interval = mean(residuals.tolist())
    if interval is None or interval.low is None or interval.high is None:
        return Estimate(value, None, None, len(denominators))
    return Estimate(value, value + interval.low, value + interval.high, len(denominators))


def slope(x: Sequence[float], y: Sequence[float]) -> Estimate | None:
    """Return the slope of the least-squares line of y over x; None unless three points or more differ in x."""
    if len(x) < 3 or len(set(x)) < 2:
        return None
    centred = np.subtract(x, np.mean(x))
    value = float(centred @ y / (centred @ centred))
    residuals = np.subtract(y, np.mean(y)) - value * centred
    variance = float(residuals @ residuals) / (len(x) - 2)
    return _estimate(value, math.sqrt(variance / float(centred @ centred)), len(x), len(x) - 2)


def _estimate(value: float, spread: float | None, count: int, freedom: int) -> Estimate:
    if spread is None:
        return Estimate(value, None, None, count)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * spread
    return Estimate(value, value - half, value + half, count)
