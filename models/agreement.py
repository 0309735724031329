"""How reproducible a ranking is: would a scoring with other dropout masks choose the same patches?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TOP_SHARE: Final = 0.1


def top_agreement(one: NDArray[np.floating], other: NDArray[np.floating], pool: int | None = None) -> float | None:
    """Return the share of the top tenth that two scorings of the same patches have in common.

    Applied to the two halves of the passes of one scoring, it estimates the agreement of two scorings of T/2 passes,
    and so rather underestimates that of two scorings of T passes (docs/benchmarks.md compares them).

    Args:
        one: (N,) scores of the patches; higher is more uncertain. Equal scores rank in the order of the patches.
        other: (N,) scores of the same patches.
        pool: Number of patches in the pool, of which those not among these N rank below them; N unless given.

    Returns:
        The share, in [0, 1]; chance gives a tenth of the pool divided by N, 0.1 if N is the pool. None if a tenth of
        the pool is less than one patch, or more than half of the N, where chance alone would give a high share.

    Raises:
        ValueError: The two are not of the same length.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"the scores have the shapes {one.shape} and {other.shape}; both must be (N,)")
    count = int(TOP_SHARE * (len(one) if pool is None else pool))
    if not 0 < count <= len(one) / 2:
        return None
    return len(np.intersect1d(_top(one, count), _top(other, count))) / count


def _top(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:count]
