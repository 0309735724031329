"""Segmentation losses by name, and class weights.

All take logits (N, K, H, W) with K >= 2 and integer targets (N, H, W) with values 0..K-1 or ``ignore_index``; a network
with a single output z is given as the two classes (0, z). Sums run over the whole batch, never image by image. If every
pixel is ignored, all are 0 with zero gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from models.boundary_loss import BoundaryClasses, boundary
from models.combined_losses import combined, dice_cross_entropy
from models.cross_entropy_losses import binary_cross_entropy, cross_entropy, generalized_cross_entropy
from models.dice_losses import dice, label_smoothed_dice, masked_dice
from models.slba_loss import SelfLearningBoundaryAwareLoss

# Below this share of the pixels a class counts as rare (see class_weights).
RARE_SHARE = 0.10
MAX_CLASS_WEIGHT = 10.0

Loss = Callable[[Tensor, Tensor, int, Tensor | None], Tensor]
LossName = Literal[
    "cross_entropy",
    "binary_cross_entropy",
    "dice",
    "label_smoothed_dice",
    "masked_dice",
    "boundary",
    "combined",
    "slba",
    "dice_cross_entropy",
    "generalized_cross_entropy",
]
LOSS_NAMES: Final[tuple[LossName, ...]] = get_args(LossName)

_BUILDERS: Final[Mapping[str, Callable[[float, BoundaryClasses], Loss]]] = {
    "cross_entropy": lambda _alpha, _classes: cross_entropy,
    "binary_cross_entropy": lambda _alpha, _classes: binary_cross_entropy,
    "dice": lambda _alpha, _classes: dice,
    "label_smoothed_dice": lambda _alpha, _classes: label_smoothed_dice,
    "masked_dice": lambda _alpha, _classes: masked_dice,
    "boundary": lambda _alpha, classes: partial(boundary, classes=classes),
    "combined": lambda alpha, classes: partial(combined, alpha=alpha, boundary_classes=classes),
    "slba": lambda _alpha, classes: SelfLearningBoundaryAwareLoss(classes),
    "dice_cross_entropy": lambda _alpha, _classes: dice_cross_entropy,
    "generalized_cross_entropy": lambda _alpha, _classes: generalized_cross_entropy,
}


def build_loss(name: str, alpha: float = 0.5, boundary_classes: BoundaryClasses = "foreground") -> Loss:
    """Return the loss with a name.

    Args:
        name: One of :data:`LOSS_NAMES`.
        alpha: Weight of masked Dice in ``combined``, in [0, 1]; the others ignore it.
        boundary_classes: Whose boundaries count in ``boundary``, ``combined`` and ``slba``; the others ignore it.

    Returns:
        A callable of (logits, target, ignore_index, class_weights). ``slba`` is a new
        :class:`~models.slba_loss.SelfLearningBoundaryAwareLoss`, whose parameters must be trained too.

    Raises:
        ValueError: There is no such loss.
    """
    if name not in _BUILDERS:
        raise ValueError(f"there is no loss {name!r}; choose one of {', '.join(LOSS_NAMES)}")
    return _BUILDERS[name](alpha, boundary_classes)


def class_weights(counts: Sequence[float]) -> Tensor:
    """Return weights that favour rare classes and leave common ones unchanged: clip(0.10 / share, 1, 10).

    A class with at least 10 % of the pixels weighs 1; one with 2 % weighs 5; the cap is reached at 1 %. In
    measurements, debris-covered ice at 2 % was learned only with weighting, while weighting at 10 % did slight harm. A
    class without pixels weighs 1, since its share is unknown.

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
