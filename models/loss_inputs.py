"""Preparation of the inputs of all losses: shape checks, and selection of the pixels that are not ignored."""

from torch import Tensor
from torch.nn import functional as F


def as_classes(logits: Tensor, target: Tensor) -> Tensor:
    """Check the shapes, and return the target as int64, the dtype that torch needs for indices.

    Args:
        logits: (N, K, H, W) float; K >= 2.
        target: (N, H, W) of any integer type.

    Returns:
        The target as (N, H, W) int64.

    Raises:
        ValueError: The shapes disagree, or there is a single class.
    """
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} hold one class; give the single output z as the two classes (0, z)"
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need a target of shape {expected}; found {tuple(target.shape)}"
        )
    return target.long()


def judged_pixels(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return probabilities and one-hot truth of the judged pixels of the whole batch.

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes, 0..K-1 or ``ignore_index``.
        ignore_index: Target value of pixels that nobody judged; they are left out.

    Returns:
        Softmax probabilities and one-hot truth, both (M, K) with the dtype of the logits, for M judged pixels.

    Raises:
        ValueError: The shapes disagree.
    """
    target = as_classes(logits, target)
    judged = target != ignore_index
    probability = logits.softmax(dim=1).movedim(1, -1)[judged]
    return probability, F.one_hot(target[judged], logits.shape[1]).to(logits.dtype)


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of (K,) values, weighted by (K,) positive weights unless those are None."""
    return values.mean() if weights is None else (weights * values).sum() / weights.sum()
