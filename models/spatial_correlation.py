"""How far apart ground must be for its errors to count as independent: the side of spatial blocks.

Area intervals (`models.area_fit`) and the gate (`models.gate`) resample square blocks. Both choose the side here: small
blocks depend on their neighbours, large ones are few.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

SIDES: Final = (1, 2, 4, 8, 16)
"""Sides of blocks that are tried, in units of the smallest."""

INDEPENDENT: Final = 0.2
"""Rank correlation of neighbouring blocks below which they count as nearly independent."""

_MOST_CORRELATION: Final = 0.8  # a block of more is worth less than an eightieth; 1 would be worth nothing

BlockValues = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Scene, row and column of blocks (B, 3), and a value of each (B,)."""


def independent_side(values_of: Callable[[int, int], BlockValues | None], fewest: int, enough: int) -> int:
    """Return the smallest side whose neighbouring blocks are nearly independent.

    Args:
        values_of: Returns the values of blocks of a side, and None if there are fewer than a number of them.
        fewest: Number of blocks that the smallest side must have.
        enough: Number of blocks that larger sides must leave.

    Returns:
        One of `SIDES`. If no side makes neighbours independent, the one of the lowest correlation.
    """
    correlations: dict[int, float] = {}
    for side in SIDES:
        found = values_of(side, enough if correlations else fewest)
        if found is None:
            break
        correlations[side] = neighbour_correlation(*found) or 0.0
        if correlations[side] < INDEPENDENT:
            return side
    return min(correlations, key=lambda side: correlations[side], default=SIDES[0])


def neighbour_correlation(place: NDArray[np.int64], values: NDArray[np.float64]) -> float | None:
    """Return the rank correlation of blocks with those on their right and below; None with fewer than 3 pairs.

    Args:
        place: (B, 3) scene, row and column of each block.
        values: (B,) a value of each.
    """
    at = {(scene, row, col): number for number, (scene, row, col) in enumerate(place.tolist())}
    pairs = [
        (number, at[neighbour])
        for (scene, row, col), number in at.items()
        for neighbour in ((scene, row, col + 1), (scene, row + 1, col))
        if neighbour in at
    ]
    if len(pairs) < 3:
        return None
    ranks = rankdata(values)
    ranks -= ranks.mean()
    variance = float((ranks**2).mean())
    one, other = np.array(pairs).T
    return float((ranks[one] * ranks[other]).mean()) / variance if variance else None


def design_effect(correlation: float | None) -> float:
    """Return how many correlated blocks are worth one independent block, at least 1.

    If blocks k rows and l columns apart are correlated by c^(k + l), the variance of their mean is that of independent
    blocks times ((1 + c) / (1 - c))^2.
    """
    bounded = min(max(correlation or 0.0, 0.0), _MOST_CORRELATION)
    return ((1.0 + bounded) / (1.0 - bounded)) ** 2
