"""Task heads: conversion of logits to class probabilities, and of labels to the targets of the losses.

There are three heads (Aryal, table 2; Baraka, table 3):

- ``"multiclass"``: one network of K logits.
- ``"binary"``: one network of a single logit, foreground (all classes but background together) against background.
- ``"two_binaries"``: an independent network of a single logit for each foreground class, this class against the rest
  (one-vs-rest). With the classes of Aryal et al. there are two networks; with other classes there are as many as
  foreground classes. Where several networks predict their class, the class of the highest precedence wins.

Classes are integers here: 0 is background, 1 to K - 1 are the foreground classes. ``precedence`` lists the
foreground classes from the lowest to the highest precedence; without it, precedence rises with the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Head = Literal["multiclass", "binary", "two_binaries"]


@dataclass(frozen=True)
class Problem:
    """One softmax classification that a network is trained on.

    Attributes:
        logits: (N, K, H, W), K >= 2. A network of one logit z is given as the pair (0, z), since
            softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): every loss gets softmax logits with any head.
        target: (N, H, W) integer, 0..K-1 or the ignored value.
    """

    logits: Tensor
    target: Tensor


def logits_per_network(head: Head, classes: int) -> int:
    """Return the number of output channels of each network of a head, for labels of ``classes`` classes."""
    return classes if head == "multiclass" else 1


def output_classes(head: Head, logits: int, networks: int) -> int:
    """Return K, the number of classes that a head predicts.

    Args:
        head: The head.
        logits: Output channels of each of its networks.
        networks: Number of its networks; 1 unless the head is ``"two_binaries"``.

    Raises:
        ValueError: The number of logits does not suit the head.
    """
    if (head == "multiclass") != (logits > 1):
        raise ValueError(
            f"a network of {logits} logit(s) was given to the head {head!r}; a multiclass head takes a network of one "
            "logit a class, at least 2, and the binary heads take networks of a single logit"
        )
    return {"multiclass": logits, "binary": 2, "two_binaries": networks + 1}[head]


def head_classes(head: Head, class_names: Sequence[str], foreground: str) -> tuple[str, ...]:
    """Return the names of the classes that a head predicts.

    Args:
        head: The head.
        class_names: Names of the label classes, background first.
        foreground: Name of all classes but background together.

    Returns:
        The same names; for a binary head only background and foreground.
    """
    return (class_names[0], foreground) if head == "binary" else tuple(class_names)


def class_probabilities(logits: Tensor, head: Head, precedence: Sequence[int] | None = None) -> Tensor:
    """Turn logits into class probabilities.

    The outputs of several binary networks are combined as if independent, the class of the higher precedence winning.
    With two, a of the lower and b of the higher precedence: P(b) = b, P(a) = (1 - b) a, P(background) = (1 - b)(1 - a).
    A pixel that is certainly foreground but of uncertain class therefore gets some background probability, and a higher
    entropy than from a multiclass network. Where all outputs are 0 or 1 this is the rule of Aryal et al. for hard masks
    (a clean ice, b debris-covered ice). The probabilities sum to 1 everywhere.

    Args:
        logits: (N, L, H, W): L = K for multiclass, 1 for binary, K - 1 for two binaries, in the order of the values.
        head: The head.
        precedence: Foreground classes by rising precedence; only two binaries need it.

    Returns:
        (N, K, H, W), of the logits' dtype, in [0, 1]; the class axis sums to 1.
    """
    if head == "multiclass":
        return logits.softmax(dim=1)
    if head == "binary":
        return _binary_logits(logits).softmax(dim=1)
    ranked = _ranked(precedence, logits.shape[1])
    lowest, *higher = ranked
    combined = _binary_logits(logits[:, lowest - 1 : lowest]).softmax(dim=1)
    for value in higher:
        winner = _binary_logits(logits[:, value - 1 : value]).softmax(dim=1)
        combined = torch.cat([winner[:, :1] * combined, winner[:, 1:]], dim=1)
    if ranked == sorted(ranked):
        return combined
    # Slices, since indexing with a list would add a constant tensor to the exported ONNX graph.
    places = [0, *(1 + ranked.index(value) for value in sorted(ranked))]
    return torch.cat([combined[:, place : place + 1] for place in places], dim=1)


def problems(logits: Tensor, target: Tensor, head: Head, ignore_index: int) -> list[Problem]:
    """Split logits and labels into the softmax problems that a head is trained on: one for each of its networks.

    Args:
        logits: (N, L, H, W) as in :func:`class_probabilities`.
        target: (N, H, W) integer label values.
        head: The head.
        ignore_index: Label value of pixels that nobody judged; it stays as it is.

    Returns:
        The problems; the classes of each are (rest, the network's class), except for multiclass.
    """
    if head == "two_binaries":
        return [
            Problem(_binary_logits(logits[:, index : index + 1]), _one_vs_rest_target(target, value, ignore_index))
            for index, value in enumerate(range(1, logits.shape[1] + 1))
        ]
    if head == "binary":
        logits = _binary_logits(logits)
    return [Problem(logits, merge_target(target, head, ignore_index))]


def problem_counts(counts: Tensor, head: Head) -> list[Tensor]:
    """Return the pixel counts of the classes of each problem, in the order of :func:`problems`.

    Args:
        counts: (K,) pixels of each class of the head's output (see :func:`merge_target`).
        head: The head.

    Returns:
        One tensor for each problem: (2,), or (K,) for multiclass and binary heads.
    """
    if head != "two_binaries":
        return [counts]
    return [torch.stack([counts.sum() - count, count]) for count in counts[1:]]


def merge_target(target: Tensor, head: Head, ignore_index: int) -> Tensor:
    """Merge label values into the classes that a head predicts; see :func:`merge_truth`.

    Args:
        target: Any shape, integer label values.
        head: The head.
        ignore_index: Label value of pixels that nobody judged; it stays as it is.

    Returns:
        A tensor of the same shape and dtype; the same one unless the head is binary.
    """
    if head != "binary":
        return target
    return torch.where((target > 0) & (target != ignore_index), 1, target).to(target.dtype)


def merge_truth(mask: NDArray[np.uint8], head: Head, ignore: int) -> NDArray[np.uint8]:
    """Merge the values of a label mask into the classes that a head predicts, so that predictions can be scored on it.

    Args:
        mask: (h, w) label values.
        head: The head.
        ignore: Label value of pixels that nobody judged; it stays as it is.

    Returns:
        (h, w): for a binary head 1 wherever there is any foreground class; otherwise the mask itself.
    """
    if head != "binary":
        return mask
    merged: NDArray[np.uint8] = np.where((mask > 0) & (mask != ignore), 1, mask).astype(mask.dtype)
    return merged


def decide(
    probabilities: NDArray[np.floating[Any]], head: Head, precedence: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Choose the class of each pixel.

    - multiclass: the most probable class.
    - binary: foreground (1) where it is at least as probable as background.
    - two binaries: of the classes whose network has an output of at least 0.5, the one of the highest precedence;
      background where there is none. With the combination of
      :func:`class_probabilities`, an output is at least 0.5 where the class is at least as probable as background and
      all classes of lower precedence together. This rule differs from the most probable class: outputs a = 0.55 and
      b = 0.4 (the higher precedence) choose a, though b is the most probable of the three.

    Args:
        probabilities: (K, h, w) as from :func:`class_probabilities`.
        head: The head.
        precedence: As for :func:`class_probabilities`.

    Returns:
        (h, w) class values.
    """
    if head == "multiclass":
        classes: NDArray[np.uint8] = probabilities.argmax(axis=0).astype(np.uint8)
        return classes
    if head == "binary":
        foreground: NDArray[np.uint8] = (probabilities[1] >= probabilities[0]).astype(np.uint8)
        return foreground
    chosen: NDArray[np.uint8] = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    *lower, highest = _ranked(precedence, len(probabilities) - 1)
    below = probabilities[0]
    for value in lower:
        chosen[probabilities[value] >= below] = value
        below = below + probabilities[value]
    chosen[probabilities[highest] >= 0.5] = highest  # all others together are 1 - P(highest)
    return chosen


def _ranked(precedence: Sequence[int] | None, foreground: int) -> list[int]:
    """Return the foreground classes by rising precedence: as given, or by their values."""
    return list(range(1, foreground + 1)) if precedence is None else list(precedence)


def _binary_logits(logit: Tensor) -> Tensor:
    """Return (N, 2, H, W) softmax logits from the (N, 1, H, W) logit of one class: 0 for the rest, then the logit."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


def _one_vs_rest_target(target: Tensor, value: int, ignore_index: int) -> Tensor:
    """Return 1 where the target is ``value``, ``ignore_index`` where it is that, 0 elsewhere."""
    return torch.where(target == ignore_index, target, (target == value).to(target.dtype))
