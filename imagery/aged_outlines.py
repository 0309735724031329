"""Make the truth of a scene old on purpose: as outlines of an earlier inventory would differ from it.

For experiments and the demonstration, in which outlines of another decade stand in for what an institute owns.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, label, shift

from imagery.classes import BACKGROUND, UNKNOWN

_SQUARE_PX: Final = 64


@dataclass(frozen=True)
class Ageing:
    """How old outlines differ from the truth.

    Attributes:
        shift_px: By how many pixels they are displaced, in a direction drawn at random.
        grow_px: By how many pixels each outline is larger on all sides: drawn generously, or before a retreat.
        missing_share: Share of the pieces of each class that nobody outlined. A piece is connected and lies within one
            square of 64 pixels, since glaciers that share an ice field are outlined one by one.
        merged_into: If given, all foreground is of this class: the outlines do not tell classes apart.
    """

    shift_px: float = 0.0
    grow_px: int = 0
    missing_share: float = 0.0
    merged_into: int | None = None


def age(truth: NDArray[np.uint8], ageing: Ageing, seed: int) -> NDArray[np.uint8]:
    """Return a truth mask as older outlines would show it; unknown ground becomes background, as in an inventory.

    Pieces go missing first, then the rest grows and is displaced. Where it grows it has the class of the nearest pixel.

    Args:
        truth: (H, W) class values, 255 where unknown.
        ageing: What differs.
        seed: Of the direction and of the missing pieces.
    """
    generator = np.random.default_rng(seed)
    mask = np.where(truth == UNKNOWN, BACKGROUND, truth).astype(np.uint8)
    if ageing.merged_into is not None:
        mask[mask != BACKGROUND] = ageing.merged_into
    for value in np.unique(mask[mask != BACKGROUND]):
        pieces = _pieces(mask == value)
        mask[(generator.random(pieces.max() + 1) < ageing.missing_share)[pieces] & (mask == value)] = BACKGROUND
    if ageing.grow_px and (mask != BACKGROUND).any():
        foreground = mask != BACKGROUND
        grown = binary_dilation(foreground, iterations=ageing.grow_px)
        nearest = distance_transform_edt(~foreground, return_distances=False, return_indices=True)
        mask = np.where(grown, mask[tuple(nearest)], mask)
    angle = generator.uniform(0.0, 2.0 * np.pi)
    offset = ageing.shift_px * np.array([np.sin(angle), np.cos(angle)])
    moved: NDArray[np.uint8] = shift(mask, offset, order=0, mode="nearest")
    return moved


def _pieces(covered: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the pieces of ground (H, W) from 1; 0 elsewhere."""
    connected = label(covered)[0].astype(np.int64)
    rows, cols = np.indices(covered.shape) // _SQUARE_PX
    keys = (connected * (rows.max() + 1) + rows) * (cols.max() + 1) + cols
    numbers = np.unique(np.where(covered, keys, -1), return_inverse=True)[1].reshape(covered.shape)
    return np.where(covered, numbers + int(covered.all()), 0)
