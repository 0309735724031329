"""The ring of unknown pixels along the edges of outlines whose place is not certain."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from imagery.classes import UNKNOWN

_ROWS_PER_STRIP: Final = 512  # the distances of a strip take some 30 bytes a pixel


def without_edges(mask: NDArray[np.uint8], width_px: float) -> NDArray[np.uint8]:
    """Return a mask in which pixels near an edge between two classes are unknown.

    An edge runs between neighbouring pixels of different classes. A pixel is near it if its centre is at most
    ``width_px`` away, so that 0.5 takes one pixel on either side. The border of unknown ground is no edge.

    Args:
        mask: (H, W) class values, 255 where unknown.
        width_px: Half the width of the ring, in pixels; below 0.5 there is none.
    """
    result = mask.copy()
    if width_px < 0.5:
        return result
    edge = _beside_another_class(mask)
    margin = int(np.ceil(width_px))
    for row in range(0, len(mask), _ROWS_PER_STRIP):
        first, last = max(0, row - margin), min(len(mask), row + _ROWS_PER_STRIP + margin)
        if not edge[first:last].any():
            continue
        # The centre of a pixel beside the edge is half a pixel away from it.
        near = distance_transform_edt(~edge[first:last]) + 0.5 <= width_px
        result[row : row + _ROWS_PER_STRIP][near[row - first :][:_ROWS_PER_STRIP]] = UNKNOWN
    return result


def _beside_another_class(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels have one of another known class above, below, left or right of them."""
    known = mask != UNKNOWN
    edge = np.zeros(mask.shape, dtype=np.bool_)
    for axis in (0, 1):
        before, after = (slice(None, -1), slice(1, None))
        one = tuple(before if dimension == axis else slice(None) for dimension in (0, 1))
        other = tuple(after if dimension == axis else slice(None) for dimension in (0, 1))
        differ = (mask[one] != mask[other]) & known[one] & known[other]
        edge[one] |= differ
        edge[other] |= differ
    return edge
