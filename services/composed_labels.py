"""Combine the labels of one patch into one mask, since each may cover only a part of the patch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.label_layers import in_layers, place_of
from catalog.pixel_regions import decode_region
from catalog.records import Label, ProposalReason

ReadMask = Callable[[Label], NDArray[np.uint8]]


def compose_labels(labels: Sequence[Label], read_mask: ReadMask, size: int, unjudged: int) -> NDArray[np.uint8]:
    """Return one mask of several labels; where they overlap, the uppermost counts, even if it is masked/unknown.

    A second label of the same patch does not replace the earlier one: where the two name different classes, the pixel
    is unjudged (`reconcile`).

    Args:
        labels: Of one patch, each with its proposal loaded.
        read_mask: Returns the mask of a label, (size, size) class values.
        size: Side of the patch in pixels.
        unjudged: Value of the pixels that no label was asked about, and of masked/unknown pixels.

    Returns:
        (size, size) uint8 label mask.
    """
    mask: NDArray[np.uint8] = np.full((size, size), unjudged, dtype=np.uint8)
    for label in in_layers(labels, place_of):
        asked = decode_region(label.proposal.region, size, size)
        drawn = read_mask(label)
        if label.proposal.reason is ProposalReason.SECOND_LABEL:
            drawn = reconcile(mask, drawn, unjudged)
        mask[asked] = drawn[asked]
    return mask


def reconcile(first: NDArray[np.uint8], second: NDArray[np.uint8], unjudged: int) -> NDArray[np.uint8]:
    """Return what two people drew of the same ground: unjudged where they name different classes.

    Where only one of them names a class, that one counts.

    Args:
        first: (h, w) class values, ``unjudged`` where the first person named none.
        second: (h, w) likewise.
        unjudged: See there.
    """
    disputed = (first != unjudged) & (second != unjudged) & (first != second)
    agreed = np.where(second == unjudged, first, second)
    return np.where(disputed, np.uint8(unjudged), agreed)
