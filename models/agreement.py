"""How steady a ranking is: would another scoring with other masks choose the same patches?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TOP_SHARE: Final = 0.1


def top_agreement(one: NDArray[np.floating], other: NDArray[np.floating], share: float = TOP_SHARE) -> float | None:
    """Share of their highest-ranked patches that two scorings of the same patches have in common.

    Of two scorings by half the passes of a third, it is what to expect of two that have half its passes each: so for
    the third it is rather too low than too high (docs/benchmarks.md has how it compares).

    Args:
        one: (N,) scores of the patches; higher is more uncertain. Equal ones rank in the order of the patches.
        other: (N,) scores of the same patches.
        share: Which part of them counts as the highest-ranked, in (0, 1]; rounded down to whole patches.

    Returns:
        From 0 to 1; chance gives ``share``. None if the share is no whole patch.

    Raises:
        ValueError: The two are not of the same length.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"the scores have the shapes {one.shape} and {other.shape}; they must be of the same patches")
    count = int(share * len(one))
    if count == 0:
        return None
    return len(np.intersect1d(_top(one, count), _top(other, count))) / count


def _top(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:count]
