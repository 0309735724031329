"""Where a model version contradicts prior outlines with confidence: the ground changed, or the outlines are wrong.

The share of such pixels in a patch is a measure, `PRIOR_DISAGREEMENT`, which is stored with its scores; the strategy of
the same name ranks by it, and ``glacier-al change --of priors`` outlines the pixels.
"""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, UNKNOWN

if TYPE_CHECKING:  # strategies load this module, and need neither vector files nor GDAL
    from services.prior_outlines import ToldApart

PRIOR_DISAGREEMENT: Final = "prior_disagreement"

CONFIDENT_ENTROPY: Final = 0.5
"""A prediction is confident if its entropy is at most this share of the highest possible one, ln K for K classes."""


def is_confident(entropy: NDArray[np.floating[Any]], class_count: int) -> NDArray[np.bool_]:
    """Return where a prediction is confident.

    Args:
        entropy: (h, w) predictive entropy in nats; NaN is not confident.
        class_count: K, the number of classes that the version predicts.
    """
    confident: NDArray[np.bool_] = entropy <= CONFIDENT_ENTROPY * math.log(class_count)
    return confident


def contradicted(
    classes: NDArray[np.uint8],
    entropy: NDArray[np.floating[Any]],
    weak: NDArray[np.uint8],
    told: "ToldApart",
    class_count: int,
) -> NDArray[np.bool_]:
    """Return where a version is confident of another class than prior outlines have.

    Args:
        classes: (h, w) predicted class values, 255 where unknown.
        entropy: (h, w) predictive entropy in nats.
        weak: (h, w) weak mask of the prior outlines, 255 where they tell nothing, as in the ring along edges.
        told: Which classes the outlines tell apart; where they do not, only background contradicts them.
        class_count: Number of classes that the version predicts; two stand for background and any foreground.
    """
    either = np.isin(weak, list(told.ambiguous)) if class_count > 2 else weak != BACKGROUND
    differs = np.where(either, classes == BACKGROUND, classes != weak)
    known = (classes != UNKNOWN) & (weak != UNKNOWN)
    contradicted: NDArray[np.bool_] = known & differs & is_confident(entropy, class_count)
    return contradicted
