"""How steady a ranking is: would another scoring with other masks choose the same patches?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TOP_SHARE: Final = 0.1


def top_agreement(one: NDArray[np.floating], other: NDArray[np.floating], pool: int | None = None) -> float | None:
    """Share of the top tenth that two scorings of the same patches have in common.

    Of two scorings by half the passes of a third, it is what to expect of two that have half its passes each: so for
    the third it is rather too low than too high (docs/benchmarks.md has how it compares).

    Args:
        one: (N,) scores of the patches; higher is more uncertain. Equal ones rank in the order of the patches.
        other: (N,) scores of the same patches.
        pool: How many patches there are in all; the others rank below these N. N unless given.

    Returns:
        From 0 to 1; chance gives 0.1, or a tenth of the pool as a share of N. None if a tenth of the pool is no whole
        patch, or more than half of the N: then even chance would look steady.

    Raises:
        ValueError: The two are not of the same length.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"the scores have the shapes {one.shape} and {other.shape}; they must be of the same patches")
    count = int(TOP_SHARE * (len(one) if pool is None else pool))
    if not 0 < count <= len(one) / 2:
        return None
    return len(np.intersect1d(_top(one, count), _top(other, count))) / count


def _top(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:count]
