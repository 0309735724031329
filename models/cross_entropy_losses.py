"""Likelihood losses: cross-entropy, and binary cross-entropy of each class against the rest (one-vs-rest)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.loss_inputs import as_classes

GENERALIZED_Q = 0.7  # as in the experiments of Zhang & Sabuncu 2018


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None) -> Tensor:
    """Return the weighted mean over judged pixels of -ln p(true class).

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
    target = as_classes(logits, target)
    total = F.cross_entropy(logits, target, weight=class_weights, ignore_index=ignore_index, reduction="sum")
    return _mean_over_judged(total, target[target != ignore_index], class_weights)


def binary_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Return the one-vs-rest binary cross-entropy, averaged over foreground classes and judged pixels.

    With p_k the softmax probability of class k >= 1 and g_k its truth, a pixel costs the mean over k of
    -g_k ln p_k - (1 - g_k) ln(1 - p_k). It is computed from the logit of p_k, which is l_k - ln sum_(j != k) exp(l_j),
    so that a certain and wrong pixel has a finite cost and gradient. With two classes this is :func:`cross_entropy`.

    Args:
        logits: (N, K, H, W) float; a single logit z is given as the two classes (0, z).
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive: each pixel weighs as much as its true class; None weighs all alike.

    Returns:
        A scalar in nats, >= 0.

    Raises:
        ValueError: The shapes disagree.
    """
    target = as_classes(logits, target)
    judged = target != ignore_index
    scores, true = logits.movedim(1, -1)[judged], target[judged]
    truth = F.one_hot(true, logits.shape[1]).to(logits.dtype)
    pixel_losses = torch.stack(
        [
            F.binary_cross_entropy_with_logits(_one_vs_rest_logit(scores, k), truth[:, k], reduction="none")
            for k in range(1, logits.shape[1])
        ]
    ).mean(dim=0)
    total = pixel_losses.sum() if class_weights is None else (class_weights[true] * pixel_losses).sum()
    return _mean_over_judged(total, true, class_weights)


def generalized_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Return the weighted mean over judged pixels of (1 - p^q) / q, with p = p(true class) and q = 0.7.

    Between cross-entropy (q towards 0) and the mean absolute error (q = 1): confident contradictions of the truth
    weigh less than in cross-entropy, so that wrong labels are fitted less (Zhang & Sabuncu 2018, eq. 6).

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) integer classes.
        ignore_index: Target value of pixels that nobody judged.
        class_weights: (K,) float, positive: each pixel weighs as much as its true class; None weighs all alike.

    Returns:
        A scalar in [0, 1 / q].

    Raises:
        ValueError: The shapes disagree.
    """
    target = as_classes(logits, target)
    judged = target != ignore_index
    true = target[judged]
    log_probability = logits.log_softmax(dim=1).movedim(1, -1)[judged].gather(1, true[:, None])[:, 0]
    pixel_losses = (1.0 - (GENERALIZED_Q * log_probability).exp()) / GENERALIZED_Q
    total = pixel_losses.sum() if class_weights is None else (class_weights[true] * pixel_losses).sum()
    return _mean_over_judged(total, true, class_weights)


def _one_vs_rest_logit(scores: Tensor, k: int) -> Tensor:
    """Return the logit (M,) of the softmax probability of class k, from scores (M, K)."""
    rest = torch.cat([scores[:, :k], scores[:, k + 1 :]], dim=1)
    return scores[:, k] - rest.logsumexp(dim=1)


def _mean_over_judged(total: Tensor, judged: Tensor, class_weights: Tensor | None) -> Tensor:
    """Divide a summed loss by the total weight of the judged pixels; ``judged`` (M,) are their classes."""
    weight = judged.new_tensor(len(judged)) if class_weights is None else class_weights[judged].sum()
    # Without a judged pixel the loss must be 0; 0 / 0 would be NaN.
    return total / weight.to(total.dtype).clamp(min=torch.finfo(total.dtype).tiny)
