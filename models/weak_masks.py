"""Weak masks, such as those of old outlines: what a pixel teaches whose foreground class is not told.

A weak mask holds class values and the ignored value, like a label mask. Outlines of whole glaciers say "ice" and not
which kind: such a pixel of an outlined class c has the value ``AMBIGUOUS + c``.
"""

from typing import Final

import torch
from torch import Tensor

AMBIGUOUS: Final = 128
"""Added to the outlined class of a weak pixel that may be of another foreground class as well."""


def is_ambiguous(mask: Tensor, ignore_index: int) -> Tensor:
    """Return which pixels of a weak mask may be of another foreground class than outlined; bool, of its shape."""
    return (mask >= AMBIGUOUS) & (mask != ignore_index)


def as_outlined(mask: Tensor, ignore_index: int) -> Tensor:
    """Return a weak mask whose ambiguous pixels have the class that is outlined."""
    return torch.where(is_ambiguous(mask, ignore_index), mask - AMBIGUOUS, mask)


def as_predicted(mask: Tensor, probabilities: Tensor, ignore_index: int) -> Tensor:
    """Return weak masks whose ambiguous pixels have the foreground class that the network finds most probable there.

    The weak masks thus teach that it is foreground, and leave it to the labels to teach which. (Learning from a set of
    possible classes by the most probable one of them, as in Lv et al. 2020, "Progressive identification of true labels
    for partial-label learning".)

    Args:
        mask: (N, h, w) weak masks.
        probabilities: (N, K, h, w) of the present network, background first.
        ignore_index: Mask value of pixels that nobody judged.
    """
    best = 1 + probabilities[:, 1:].argmax(dim=1)
    return torch.where(is_ambiguous(mask, ignore_index), best.to(mask.dtype), mask)
