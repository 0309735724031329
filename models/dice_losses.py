"""Soft Dice losses, in which a small class weighs as much as a large one.

Smoothing (1 pixel) keeps them defined for a class that does not occur in the batch: the gradient of its term then
reduces falsely predicted ice. Implementations that skip absent classes have no gradient on an all-background patch, and
acquisition does select such patches.
"""

from torch import Tensor

from models.loss_inputs import judged_pixels, weighted_mean

SMOOTHING_PX = 1.0
# What the code of Baraka et al. 2020 uses; the paper does not mention it.
BARAKA_LABEL_SMOOTHING = 0.2


def dice(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the soft multiclass Dice loss with squared denominator, pooled over all judged pixels of the batch.

    For each class, with p the probabilities and g the truth, dice = (2 sum p g + 1) / (sum p^2 + sum g^2 + 1), and the
    loss is the (weighted) mean over all classes of 1 - dice (Milletari et al. 2016, "V-Net", eq. 3; the form of Baraka
    et al. 2020). The truth is one-hot, or (1 - e) one-hot + e / K with label smoothing e.

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; None weighs all classes alike.
        label_smoothing: e, in [0, 1).

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: The shapes disagree.
    """
    probability, truth = judged_pixels(logits, target, ignore_index)
    truth = (1.0 - label_smoothing) * truth + label_smoothing / truth.shape[1]
    overlap = (probability * truth).sum(dim=0)
    size = probability.square().sum(dim=0) + truth.square().sum(dim=0)
    score = (2.0 * overlap + SMOOTHING_PX) / (size + SMOOTHING_PX)
    return 1.0 - weighted_mean(score, class_weights)


def label_smoothed_dice(
    logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Return :func:`dice` with the label smoothing of 0.2 that the code of Baraka et al. 2020 uses.

    Its minimum is where the probabilities equal the smoothed truth, not where they are 0 and 1.

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; None weighs all classes alike.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: The shapes disagree.
    """
    return dice(logits, target, ignore_index, class_weights, BARAKA_LABEL_SMOOTHING)


def masked_dice(logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None) -> Tensor:
    """Return the soft Dice loss of the foreground classes, unsquared, over judged pixels (Aryal et al. 2023, L_MDice).

    For each class k >= 1, dice = (2 sum p g + 1) / (sum p + sum g + 1), pooled over the batch; the loss is the
    (weighted) mean over these classes of 1 - dice. The "masked" pixels are those of ``ignore_index``.

    Args:
        logits: (N, K, H, W) float; K >= 2.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive, of which the first (background) is not used; None weighs all alike.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: The shapes disagree.
    """
    probability, truth = (part[:, 1:] for part in judged_pixels(logits, target, ignore_index))
    overlap = (probability * truth).sum(dim=0)
    size = probability.sum(dim=0) + truth.sum(dim=0)
    score = (2.0 * overlap + SMOOTHING_PX) / (size + SMOOTHING_PX)
    return 1.0 - weighted_mean(score, None if class_weights is None else class_weights[1:])
