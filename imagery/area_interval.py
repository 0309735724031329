"""Areas with their 95 % intervals: parts of an area, areas together, differences of areas.

The distances from the best estimate to the two ends take the place of standard errors. Those of independent areas add
up as squares, on each side by itself (Zou and Donner 2008, Construction of confidence limits about effect measures: a
general approach, Statistics in Medicine 27, 1693-1702: the method of variance estimates recovery).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_95_PERCENT: Final = 1.96


@dataclass(frozen=True)
class AreaInterval:
    """An area, or a difference of areas, in square kilometres.

    Attributes:
        best: The best estimate.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    best: float
    low: float
    high: float

    @property
    def relative_error(self) -> float | None:
        """Half the width of the interval divided by the best estimate; None for an area of 0."""
        return (self.high - self.low) / 2 / self.best if self.best else None

    def part(self, share: float) -> "AreaInterval":
        """Return the interval of a part of the area, its errors taken to be independent of those of the rest.

        The distances to the ends shrink by the square root of the share: a part is known less well than the whole.

        Args:
            share: 0 to 1.
        """
        best, root = self.best * share, share**0.5
        return AreaInterval(best, max(best - (self.best - self.low) * root, 0.0), best + (self.high - self.best) * root)

    def scaled(self, factor: float) -> "AreaInterval":
        """Return the interval of an area that is larger by a factor, of the same relative error."""
        return AreaInterval(self.best * factor, self.low * factor, self.high * factor)


NOTHING: Final = AreaInterval(0.0, 0.0, 0.0)


def of_standard_error(area: float, error: float) -> AreaInterval:
    """Return the interval of an area whose standard error is known; its lower end is at least 0."""
    return AreaInterval(area, max(area - _95_PERCENT * error, 0.0), area + _95_PERCENT * error)


def add_alike(intervals: Sequence[AreaInterval]) -> AreaInterval:
    """Add up areas whose errors go together: too large in one, too large in all. The widest interval there can be."""
    best, low, high = np.array([[each.best, each.low, each.high] for each in intervals]).reshape(-1, 3).sum(axis=0)
    return AreaInterval(float(best), float(low), float(high))


def add_independent(intervals: Sequence[AreaInterval]) -> AreaInterval:
    """Add up areas whose errors are independent of each other."""
    best, low, high = np.array([[each.best, each.low, each.high] for each in intervals]).reshape(-1, 3).T
    total = float(best.sum())
    return AreaInterval(total, total - float(np.linalg.norm(best - low)), total + float(np.linalg.norm(high - best)))


def difference(later: AreaInterval, earlier: AreaInterval) -> AreaInterval:
    """Subtract an area from another one whose error is independent of it."""
    best = later.best - earlier.best
    below = np.hypot(later.best - later.low, earlier.high - earlier.best)
    above = np.hypot(later.high - later.best, earlier.best - earlier.low)
    return AreaInterval(best, best - float(below), best + float(above))
