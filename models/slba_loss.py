"""The self-learning boundary-aware loss of Aryal et al., whose two weights are learned with the network."""

import torch
from torch import Tensor, nn

from models.boundary_loss import BoundaryClasses, boundary_costs, mean_cost
from models.dice_losses import masked_dice


class SelfLearningBoundaryAwareLoss(nn.Module):
    """Masked Dice / (2 a1^2) + boundary / (2 a2^2) + |ln(a1 a2)|, with learned a1, a2 > 0 (Aryal et al. 2023, eq. 2).

    Both start at 1. The optimiser needs ``parameters()`` in addition to those of the network; the module must be on
    the same device.

    We learn ln a1 and ln a2, not a1 and a2: no step of the optimiser can then carry a weight through 0, where the loss
    is infinite, and weight decay pulls the weights to 1 instead of 0. As a function of a1, a2 the loss is the same.

    Where the weights converge: masked Dice M and boundary loss B are at most 1, so for a1 a2 = c the minimum over the
    other direction is sqrt(M B) / c + |ln c|, which is smallest at exactly c = 1. The minimum lies on the kink of
    |ln(a1 a2)|, with a1 = (M / B)^(1/4) = 1 / a2 and the value sqrt(M B). (The published pairs .9569 * 1.045 and
    .952 * 1.05 do multiply to 1.) At the kink torch uses the subgradient 0 of |.|, and next to it steps lead
    back to it, so a1 a2 stays within a few learning rates of 1. Only if M or B stays exactly 0 do the weights grow
    without bound, at the rate of the learning rate, while the loss falls to 0.

    In a batch whose truth has no boundary, B is 0 whatever is predicted, and only M / (2 a1^2) is minimised: the
    weights are not learned from it. They would otherwise move from M, which has a gradient, to B, which has none.
    """

    def __init__(self, boundary_classes: BoundaryClasses = "foreground") -> None:
        """Start with a1 = a2 = 1.

        Args:
            boundary_classes: Whose boundaries count in the boundary loss.
        """
        super().__init__()
        self._boundary_classes = boundary_classes
        self.log_a = nn.Parameter(torch.zeros(2))

    def forward(self, logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            logits: (N, K, H, W) float; K >= 2.
            target: (N, H, W) integer classes.
            ignore_index: Target value of pixels that nobody judged. If all pixels are ignored, the loss and all
                gradients are 0.
            class_weights: (K,) float, positive; applied in both terms; None weighs all classes alike.

        Returns:
            A scalar, >= 0.

        Raises:
            ValueError: The shapes disagree.
        """
        costs, has_boundary = boundary_costs(logits, target, ignore_index, self._boundary_classes)
        terms = torch.stack(
            [
                masked_dice(logits, target, ignore_index, class_weights),
                mean_cost(costs, class_weights, self._boundary_classes),
            ]
        )
        log_a = torch.where(has_boundary.any(), self.log_a, self.log_a.detach())
        any_judged = (target != ignore_index).any()
        return (terms * _weights(log_a)).sum() + log_a.sum().abs() * any_judged

    def learned(self) -> dict[str, float]:
        """Return the learned values: a1, a2, and the weights of the two terms, 1 / (2 a^2) (Aryal et al. 2023, Fig. 5).

        Returns:
            ``a1``, ``a2``, ``masked_dice_weight``, ``boundary_weight``; all positive.
        """
        a1, a2 = self.log_a.detach().exp().tolist()
        dice_weight, boundary_weight = _weights(self.log_a.detach()).tolist()
        return {"a1": a1, "a2": a2, "masked_dice_weight": dice_weight, "boundary_weight": boundary_weight}


def _weights(log_a: Tensor) -> Tensor:
    """Return 1 / (2 a^2) of both terms, (2,)."""
    return 0.5 * torch.exp(-2.0 * log_a)
