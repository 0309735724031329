"""How well would a second scoring agree with this one? Estimates from the passes of one scoring alone."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking_schemes import at, halves_agree, overlap, tenth, top
from benchmarks.ranking_scores import BLOCK, Scores

RESAMPLES: Final = 100

Estimate = Callable[[Scores, int], float]
"""From a run, (len(RANGES), N), and its passes T to the expected overlap of two top tenths by T passes each."""


def extrapolated(run: Scores, passes: int) -> float:
    """Take the disagreement of the halves to fall as noise does, with the square root of the passes."""
    return 1.0 - (1.0 - halves_agree(run, passes)) / math.sqrt(2.0)


def resampled(run: Scores, passes: int) -> float:
    """Draw the blocks of passes twice with replacement, and let the two mean scores choose; many times.

    Means of B drawn blocks vary by (B - 1) / B of what means of B fresh ones would: deviations are stretched by that.
    """
    rng = np.random.default_rng(0)
    blocks = np.stack([at(run, start, start + BLOCK) for start in range(0, passes, BLOCK)])
    count, chosen = len(blocks), tenth(blocks.shape[1])
    scores, deviations = at(run, 0, passes), blocks - blocks.mean(axis=0)
    stretch = np.sqrt(count / (count - 1))

    def choose() -> NDArray[np.intp]:
        drawn = deviations[rng.integers(count, size=count)].mean(axis=0)
        return top(scores + stretch * drawn, chosen)

    return float(np.mean([overlap(choose(), choose()) for _ in range(RESAMPLES)]))


ESTIMATES: Final[Mapping[str, Estimate]] = MappingProxyType(
    {"halves": halves_agree, "extrapolated": extrapolated, "resampled": resampled}
)
