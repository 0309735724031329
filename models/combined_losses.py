"""Losses that are weighted sums of other losses with fixed weights."""

from torch import Tensor

from models.boundary_loss import BoundaryClasses, boundary
from models.cross_entropy_losses import cross_entropy
from models.dice_losses import dice, masked_dice


def dice_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Return the sum of cross-entropy and Dice with squared denominator (as in Isensee et al. 2021, "nnU-Net").

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
    inputs = (logits, target, ignore_index, class_weights)
    return cross_entropy(*inputs) + dice(*inputs)


def combined(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weights: Tensor | None = None,
    alpha: float = 0.5,
    boundary_classes: BoundaryClasses = "foreground",
) -> Tensor:
    """Return alpha * masked Dice + (1 - alpha) * boundary loss (Aryal et al. 2023, eq. 1).

    Classes without a boundary in the truth of the batch are in the first term only; see
    :func:`models.boundary_loss.boundary`.

    *Trap*: in Aryal's Table 3 the rows alpha = 0.5 and 0.9 are identical to the last digit, so one of them is
    a copy, and neither serves as a reference here.

    Args:
        logits: (N, K, H, W) float; K >= 2.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; applied in both terms; None weighs all classes alike.
        alpha: Weight of masked Dice, in [0, 1].
        boundary_classes: Whose boundaries count in the boundary loss.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: ``alpha`` is outside [0, 1], or the shapes disagree.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}; it must lie in [0, 1], 1 being masked Dice alone")
    inputs = (logits, target, ignore_index, class_weights)
    return alpha * masked_dice(*inputs) + (1.0 - alpha) * boundary(*inputs, boundary_classes)
