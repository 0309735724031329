"""The boundary loss of Bokhovkin & Burnaev: one minus a differentiable boundary F1 score."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.loss_inputs import as_classes, weighted_mean

# Sides of the square windows, in pixels: a boundary is one pixel wide, and is matched up to two pixels away.
THETA_0 = 3
THETA = 5
# Added to numerator and denominator, so that precision and recall are defined where no boundary is predicted.
SMOOTHING_PX = 1.0

BoundaryClasses = Literal["foreground", "all"]
"""Whose boundaries count: those of ice, or the background's too (Bokhovkin & Burnaev, and the code of Aryal et al.)."""


def boundary(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weights: Tensor | None = None,
    classes: BoundaryClasses = "foreground",
) -> Tensor:
    """Return 1 - boundary F1, averaged over classes (Bokhovkin & Burnaev 2019, arXiv:1905.07852).

    For each class, with m its probabilities (or its truth), the boundary map is
    b = maxpool_theta0(1 - m) - (1 - m): the pixels inside the class next to a pixel outside it. Extended by
    maxpool_theta, one map tolerates small shifts of the other:
    precision P = sum(b_pred * ext(b_true)) / sum(b_pred), recall R = sum(b_true * ext(b_pred)) / sum(b_true), and the
    loss is the (weighted) mean over classes of 1 - 2 P R / (P + R).

    A class without any true boundary in the batch costs 0 and has no gradient (in the paper: cost 1, no gradient). Its
    F1 could only be raised by flattening the prediction, at any level: in a batch without ice that outweighs the
    gradient of the Dice loss, and an undecided network keeps its false ice.

    Ours differs from the paper in two more ways. Sums run over the batch rather than one image, with one pixel added
    to numerator and denominator of P and R. And ignored pixels are treated like the outside of the image: a class that
    ends there has no boundary there, and predictions there do not count.

    The loss depends on boundaries only: a constant prediction has none and gets no gradient towards the right class.
    Trained with this loss alone, networks fail (Aryal et al. 2023, Table 3, alpha = 0).

    Args:
        logits: (N, K, H, W) float; K >= 2.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive; only those of the counted classes are used. None weighs all alike.
        classes: Whose boundaries count.

    Returns:
        A scalar in [0, 1).

    Raises:
        ValueError: The shapes disagree.
    """
    cost, _ = boundary_costs(logits, target, ignore_index, classes)
    return mean_cost(cost, class_weights, classes)


def boundary_costs(
    logits: Tensor, target: Tensor, ignore_index: int, classes: BoundaryClasses
) -> tuple[Tensor, Tensor]:
    """Return the cost 1 - F1 of each counted class, 0 where the truth has no boundary, and whether it has one.

    Args:
        logits: (N, K, H, W) float; K >= 2.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        classes: Whose boundaries count, k of the K classes.

    Returns:
        (k,) in [0, 1), and (k,) bool.

    Raises:
        ValueError: The shapes disagree.
    """
    target = as_classes(logits, target)
    judged = (target != ignore_index)[:, None]
    known = torch.where(judged[:, 0], target, 0)
    truth = F.one_hot(known, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    true_boundary, predicted_boundary = (
        _boundary_map(membership[:, _first(classes) :], judged) for membership in (truth, logits.softmax(dim=1))
    )
    precision = _smoothed_match_rate(predicted_boundary, true_boundary)
    recall = _smoothed_match_rate(true_boundary, predicted_boundary)
    f1 = 2.0 * precision * recall / (precision + recall)
    has_boundary = true_boundary.sum(dim=(0, 2, 3)) > 0
    return torch.where(has_boundary, 1.0 - f1, 0.0), has_boundary


def mean_cost(cost: Tensor, class_weights: Tensor | None, classes: BoundaryClasses) -> Tensor:
    """Return the mean of (k,) costs of the counted classes, weighted by those of (K,) weights that belong to them."""
    return weighted_mean(cost, None if class_weights is None else class_weights[_first(classes) :])


def _first(classes: BoundaryClasses) -> int:
    """Return the first class that counts; background is 0."""
    return 1 if classes == "foreground" else 0


def _boundary_map(membership: Tensor, judged: Tensor) -> Tensor:
    """Return boundary maps in [0, 1] of (N, k, H, W) memberships; 0 wherever ``judged`` (N, 1, H, W) is false."""
    # An ignored pixel must not make its neighbour a boundary: 0 is the minimum, so the max-pooling skips it.
    outside = torch.where(judged, 1.0 - membership, 0.0)
    return torch.where(judged, _dilate(outside, THETA_0) - outside, 0.0)


def _smoothed_match_rate(boundaries: Tensor, others: Tensor) -> Tensor:
    """Return the share (k,) of the boundaries within ``THETA // 2`` pixels of the others; both are (N, k, H, W)."""
    near = (boundaries * _dilate(others, THETA)).sum(dim=(0, 2, 3))
    return (near + SMOOTHING_PX) / (boundaries.sum(dim=(0, 2, 3)) + SMOOTHING_PX)


def _dilate(values: Tensor, side: int) -> Tensor:
    """Return the maximum over the square window of odd side around each pixel; padding never wins."""
    return F.max_pool2d(values, side, stride=1, padding=side // 2)
