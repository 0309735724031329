"""Task heads: how the logits of a network become class probabilities, and labels become what its losses are fed.

Three heads answer the same question (Aryal, table 2; Baraka, table 3): one network of K logits (``"multiclass"``), one
network of a single logit for glacier against background (``"binary"``), and two independent networks of a single logit
each, clean ice against the rest and debris-covered ice against the rest (``"two_binaries"``).

Classes are known here by their value alone: 0 is background, 1 clean ice, 2 debris-covered ice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Head = Literal["multiclass", "binary", "two_binaries"]

CLEAN, DEBRIS = 1, 2
GLACIER_NAME = "glacier"


@dataclass(frozen=True)
class Problem:
    """One softmax classification that a network is trained on.

    Attributes:
        logits: (N, K, H, W), K >= 2. A network of one logit z appears as the pair (0, z), since
            softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): every loss sees softmax logits, whatever the head.
        target: (N, H, W) integer, 0..K-1 or the ignored value.
    """

    logits: Tensor
    target: Tensor


def logits_per_network(head: Head, classes: int) -> int:
    """Return the output channels of each network of a head that tells ``classes`` classes apart in the labels."""
    return classes if head == "multiclass" else 1


def output_classes(head: Head, logits: int) -> int:
    """Return K, the classes that a head's probabilities tell apart, from the logits of each of its networks.

    Raises:
        ValueError: The head does not go with so many logits.
    """
    if (head == "multiclass") != (logits > 1):
        raise ValueError(
            f"a network of {logits} logit(s) was given to the head {head!r}; a multiclass head takes a network of one "
            "logit a class, at least 2, and the binary heads take networks of a single logit"
        )
    return {"multiclass": logits, "binary": 2, "two_binaries": 3}[head]


def head_classes(head: Head, class_names: Sequence[str]) -> tuple[str, ...]:
    """Name the classes of a head's output.

    Args:
        head: The head.
        class_names: Names of the label classes, background first.

    Returns:
        The same names, except that a binary head knows background and "glacier" only.
    """
    return (class_names[0], GLACIER_NAME) if head == "binary" else tuple(class_names)


def class_probabilities(logits: Tensor, head: Head) -> Tensor:
    """Turn logits into class probabilities.

    Two binaries, with c = P(clean) and d = P(debris) from the two networks, are combined as if independent and so that
    debris wins: P(debris) = d, P(clean) = (1 - d) c, P(background) = (1 - d)(1 - c). A pixel that is surely ice but of
    doubtful kind thereby gets some background, and a higher entropy than from a multiclass network. Where both outputs
    are 0 or 1 this is the rule of Aryal et al. for hard masks, and it sums to 1 everywhere.

    Args:
        logits: (N, L, H, W): L = K for multiclass, 1 for binary, 2 (clean, debris) for two binaries.
        head: The head.

    Returns:
        (N, K, H, W), of the logits' dtype, in [0, 1]; the class axis sums to 1.
    """
    if head == "multiclass":
        return logits.softmax(dim=1)
    if head == "binary":
        return _pair(logits).softmax(dim=1)
    clean = _pair(logits[:, :1]).softmax(dim=1)
    debris = _pair(logits[:, 1:]).softmax(dim=1)
    return torch.cat([debris[:, :1] * clean, debris[:, 1:]], dim=1)


def problems(logits: Tensor, target: Tensor, head: Head, ignore_index: int) -> list[Problem]:
    """Split logits and labels into the softmax problems that a head is trained on: one, or two for two binaries.

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
            Problem(_pair(logits[:, index : index + 1]), _against_rest(target, value, ignore_index))
            for index, value in enumerate((CLEAN, DEBRIS))
        ]
    if head == "binary":
        logits = _pair(logits)
    return [Problem(logits, merge_target(target, head, ignore_index))]


def problem_counts(counts: Tensor, head: Head) -> list[Tensor]:
    """Pixels of each class of each problem, in the order of :func:`problems`.

    Args:
        counts: (K,) pixels of each class of the head's output (see :func:`merge_target`).
        head: The head.

    Returns:
        One tensor (2,) or, for multiclass, (K,) a problem.
    """
    if head != "two_binaries":
        return [counts]
    return [torch.stack([counts.sum() - counts[value], counts[value]]) for value in (CLEAN, DEBRIS)]


def merge_target(target: Tensor, head: Head, ignore_index: int) -> Tensor:
    """Reduce label values to what a head tells apart; see :func:`merge_truth`.

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
    """Reduce a label mask to the classes that a head tells apart, so that it can be judged by them.

    Args:
        mask: (h, w) label values.
        head: The head.
        ignore: Label value of pixels that nobody judged; it stays as it is.

    Returns:
        (h, w): for a binary head 1 wherever there is any glacier; otherwise the mask itself.
    """
    if head != "binary":
        return mask
    merged: NDArray[np.uint8] = np.where((mask > 0) & (mask != ignore), 1, mask).astype(mask.dtype)
    return merged


def decide(probabilities: NDArray[np.floating[Any]], head: Head) -> NDArray[np.uint8]:
    """Choose the class of each pixel.

    - multiclass: the most probable class.
    - binary: glacier (1) where it is at least as probable as background.
    - two binaries: debris where d >= 0.5, else clean ice where c >= 0.5, else background: each network decides by
      itself, and debris wins. With P(clean) = (1 - d) c and P(background) = (1 - d)(1 - c), c >= 0.5 is
      P(clean) >= P(background). The most probable class would be another rule: c = 0.55, d = 0.4 is clean ice, though
      debris is the most probable of the three.

    Args:
        probabilities: (K, h, w) as from :func:`class_probabilities`.
        head: The head.

    Returns:
        (h, w) class values.
    """
    if head == "multiclass":
        classes: NDArray[np.uint8] = probabilities.argmax(axis=0).astype(np.uint8)
        return classes
    ice: NDArray[np.uint8] = (probabilities[CLEAN] >= probabilities[0]).astype(np.uint8)
    if head == "two_binaries":
        ice[probabilities[DEBRIS] >= 0.5] = DEBRIS
    return ice


def _pair(logit: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, 2, H, W): the logit of one class beside the 0 of the rest."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


def _against_rest(target: Tensor, value: int, ignore_index: int) -> Tensor:
    """1 where the target is ``value``, ``ignore_index`` where it is that, 0 elsewhere."""
    return torch.where(target == ignore_index, target, (target == value).to(target.dtype))
