"""Share of debris in a patch, and merging of classes that makes binary and multiclass predictions comparable.

Baraka et al. 2020 (table 3) compare the glacier IoU of both on subsets of patches with increasing shares of debris.
"""

import numpy as np
from numpy.typing import NDArray


def debris_share(truth: NDArray[np.integer], debris: int, ignore_index: int) -> float:
    """Return the share of debris among the judged pixels of one patch.

    Args:
        truth: True classes of any shape, or ``ignore_index``. Always the multiclass truth, also where a binary
            prediction is scored: after merging, debris cannot be distinguished.
        debris: The class of debris-covered ice.
        ignore_index: Value of pixels that nobody judged; they count neither in the numerator nor in the
            denominator.

    Returns:
        In [0, 1]; NaN without a judged pixel.
    """
    judged = truth != ignore_index
    return float((truth[judged] == debris).mean()) if judged.any() else float("nan")


def glacier_confusion(confusion: NDArray[np.int64], background: int) -> NDArray[np.int64]:
    """Merge all classes but the background into one, which makes multiclass and binary predictions comparable.

    Clean ice predicted as debris then counts as correct: both are glacier. A 2 x 2 matrix whose background is 0 stays
    as it is.

    Args:
        confusion: (..., K, K) counts; rows are the truth, columns the prediction.
        background: The class that is not glacier.

    Returns:
        (..., 2, 2) counts; 0 is background, 1 glacier.
    """
    glacier = np.arange(confusion.shape[-1]) != background
    members = np.stack([~glacier, glacier]).astype(np.int64)
    merged: NDArray[np.int64] = members @ confusion @ members.T
    return merged
