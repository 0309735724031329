"""Losses of multiclass segmentation that ignore masked pixels.

All take logits (N, K, H, W) and integer targets (N, H, W) with values 0..K-1 or ``ignore_index``. Where every pixel is
ignored they are 0 with zero gradient, so that such a batch moves nothing.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this share of the pixels a class counts as rare (see class_weights).
RARE_SHARE = 0.10
MAX_CLASS_WEIGHT = 10.0

Loss = Callable[[Tensor, Tensor, int, Tensor | None], Tensor]


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None) -> Tensor:
    """Weighted mean over judged pixels of -ln p(true class).

    Each pixel weighs as much as its true class; the sum is divided by the sum of those weights, as in
    :func:`torch.nn.functional.cross_entropy`.

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; None weighs all classes alike.

    Returns:
        A scalar in nats, >= 0.

    Raises:
        ValueError: The shapes disagree.
    """
    target = _as_classes(logits, target)
    total = F.cross_entropy(logits, target, weight=class_weights, ignore_index=ignore_index, reduction="sum")
    judged = target[target != ignore_index]
    weight = judged.new_tensor(len(judged)) if class_weights is None else class_weights[judged].sum()
    # Without a judged pixel the sum is 0, and so is the mean; 0 / 0 would be NaN.
    return total / weight.to(logits.dtype).clamp(min=torch.finfo(logits.dtype).tiny)


def dice(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weights: Tensor | None = None,
    smoothing: float = 1.0,
) -> Tensor:
    """Soft multiclass Dice loss with squared denominator, pooled over all judged pixels of the batch.

    For each class, with p the probabilities and g the one-hot truth,
    dice = (2 sum p g + s) / (sum p^2 + sum g^2 + s), and the loss is the (weighted) mean over classes of 1 - dice
    (Milletari et al. 2016, "V-Net", eq. 3; the form of Baraka et al. 2020).

    The smoothing s keeps the loss defined for a class that does not occur in the batch: its term is then
    sum p^2 / (sum p^2 + s), which is 0 only when the class is not predicted either, and whose gradient pushes its
    probability down. (Implementations that skip absent classes give no gradient on an all-background patch, and
    acquisition does pick such patches.)

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; None weighs all classes alike.
        smoothing: s > 0, in pixels.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: The shapes disagree.
    """
    target = _as_classes(logits, target)
    judged = target != ignore_index
    probability = logits.softmax(dim=1).movedim(1, -1)[judged]
    truth = F.one_hot(target[judged], logits.shape[1]).to(logits.dtype)
    overlap = (probability * truth).sum(dim=0)
    size = probability.square().sum(dim=0) + truth.sum(dim=0)
    score = (2.0 * overlap + smoothing) / (size + smoothing)
    if class_weights is None:
        return 1.0 - score.mean()
    return 1.0 - (class_weights * score).sum() / class_weights.sum()


def dice_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Sum of :func:`cross_entropy` and :func:`dice`, equally weighted (as in Isensee et al. 2021, "nnU-Net").

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; applied in both terms.

    Returns:
        A scalar, >= 0.

    Raises:
        ValueError: The shapes disagree.
    """
    return cross_entropy(logits, target, ignore_index, class_weights) + dice(
        logits, target, ignore_index, class_weights
    )


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "dice_cross_entropy": dice_cross_entropy,
}


def class_weights(counts: Sequence[float]) -> Tensor:
    """Weights that help a rare class and leave common ones alone: clip(0.10 / share, 1, 10).

    A class with at least 10 % of the pixels weighs 1; one with 2 % weighs 5; the cap is reached at 1 %. Weighting was
    measured to decide whether debris-covered ice at 2 % is learned at all, and to do slight harm at 10 %: hence the
    adaptation to the share. A class without pixels weighs 1, since nothing is known of its share.

    Args:
        counts: Pixels of each class, K numbers >= 0 (expected counts may be fractions).

    Returns:
        (K,) float32, each in [1, 10].

    Raises:
        ValueError: A count is negative, or all are 0.
    """
    pixels = torch.tensor(counts, dtype=torch.float64)
    if (pixels < 0).any() or pixels.sum() == 0:
        raise ValueError(f"the pixel counts are {list(counts)}; they must be >= 0, and at least one positive")
    share = pixels / pixels.sum()
    weights = (RARE_SHARE / share).clamp(1.0, MAX_CLASS_WEIGHT)
    return torch.where(pixels > 0, weights, 1.0).float()


def _as_classes(logits: Tensor, target: Tensor) -> Tensor:
    """Check the shapes, and give the target the int64 that torch indexes with."""
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need a target of shape {expected}; found {tuple(target.shape)}"
        )
    return target.long()
