"""Combine the labels of one patch into one mask, since each may cover only a part of the patch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.pixel_regions import decode_region
from catalog.records import Label

ReadMask = Callable[[Label], NDArray[np.uint8]]


def compose_labels(labels: Sequence[Label], read_mask: ReadMask, size: int, unjudged: int) -> NDArray[np.uint8]:
    """Return one mask of several labels; where they overlap, the newest counts, even if it is masked/unknown.

    Args:
        labels: Of one patch, each with its proposal loaded.
        read_mask: Returns the mask of a label, (size, size) class values.
        size: Side of the patch in pixels.
        unjudged: Value of the pixels that no label was asked about.

    Returns:
        (size, size) uint8 label mask.
    """
    mask: NDArray[np.uint8] = np.full((size, size), unjudged, dtype=np.uint8)
    for label in sorted(labels, key=lambda item: item.event_id):
        asked = decode_region(label.proposal.region, size, size)
        mask[asked] = read_mask(label)[asked]
    return mask
