"""The standing labels of one patch as one mask: a proposal may ask for a part of its patch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.pixel_regions import decode_region
from catalog.records import Label

ReadMask = Callable[[Label], NDArray[np.uint8]]


def compose_labels(labels: Sequence[Label], read_mask: ReadMask, size: int, unjudged: int) -> NDArray[np.uint8]:
    """Compose labels: where several annotators judged a pixel, the newest counts, also if it says masked/unknown.

    Args:
        labels: Of one patch, each with its proposal loaded.
        read_mask: Returns the mask of a label, (size, size) class values.
        size: Side of the patch in pixels.
        unjudged: Value of the pixels that no label was asked about.

    Returns:
        (size, size) uint8 label mask.
    """
    mask: NDArray[np.uint8] = np.full((size, size), unjudged, dtype=np.uint8)
    for label in sorted(labels, key=lambda item: (item.annotated_at, item.id)):
        asked = decode_region(label.proposal.region, size, size)
        mask[asked] = read_mask(label)[asked]
    return mask
