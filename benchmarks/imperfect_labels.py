"""Imperfect label masks, made from the truth: what a hasty annotator draws, and labels that are wrong altogether."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from imagery.classes import BACKGROUND, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.synthetic_noise import smooth

Mask = NDArray[np.uint8]

SHIFT_PX: Final = 12
"""How far shifted labels are off along each axis, pixels of 64."""
BLOB_PX: Final = 8
"""Side of the squares that a careless annotator draws."""

_WOBBLE_PX: Final = 12  # wavelength of the errors of a hand-drawn border
_DIRECTIONS: Final = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]


def drawn_in_haste(truth: Mask, seed: int, border_px: float, debris_missed: float) -> Mask:
    """Return what an annotator draws who is off at borders and takes some debris-covered ice for ground.

    Args:
        truth: (H, W) label mask of the glacier scheme.
        seed: At least 0.
        border_px: Standard deviation of the error of a border along each axis; it varies smoothly.
        debris_missed: Share of the ground on which debris-covered ice is taken for background; in patches of about
            24 pixels.

    Returns:
        (H, W) label mask, unknown where the truth is.
    """
    rows, cols = (np.arange(length) for length in truth.shape)
    off = [
        np.rint(border_px * smooth(seed, f"border/{axis}", rows.astype(float), cols.astype(float), _WOBBLE_PX))
        for axis in ("row", "col")
    ]
    at_row = np.clip(rows[:, None] + off[0], 0, truth.shape[0] - 1).astype(np.int64)
    at_col = np.clip(cols[None, :] + off[1], 0, truth.shape[1] - 1).astype(np.int64)
    drawn = truth[at_row, at_col]
    overlooked = smooth(seed, "overlooked", rows.astype(float), cols.astype(float), 24)
    if debris_missed:
        missed = overlooked > np.quantile(overlooked, 1 - debris_missed)
        drawn[missed & (drawn == DEBRIS_COVERED_ICE.value)] = BACKGROUND
    # Beside an unknown pixel the true class is drawn: the border of a cloud is not drawn.
    drawn = np.where(drawn == UNKNOWN, truth, drawn)
    return np.where(truth == UNKNOWN, np.uint8(UNKNOWN), drawn)


def shifted(truth: Mask, generator: np.random.Generator) -> Mask:
    """Return a label (h, w) that is `SHIFT_PX` off in one of eight directions, its edge repeated.

    Args:
        truth: (h, w) label mask.
        generator: Draws the direction.
    """
    down, right = SHIFT_PX * np.array(_DIRECTIONS[generator.integers(len(_DIRECTIONS))])
    rows, cols = (
        np.clip(np.arange(length) - by, 0, length - 1) for length, by in zip(truth.shape, (down, right), strict=True)
    )
    moved: Mask = truth[rows[:, None], cols[None, :]]
    return moved


def swapped(truth: Mask, generator: np.random.Generator) -> Mask:
    """Return a label (h, w) with its two most frequent classes exchanged: drawn with the wrong brush."""
    del generator
    values, counts = np.unique(truth[truth != UNKNOWN], return_counts=True)
    if len(values) < 2:
        return truth
    first, second = values[np.argsort(-counts, kind="stable")[:2]]
    drawn = truth.copy()
    drawn[truth == first], drawn[truth == second] = second, first
    return drawn


def emptied(truth: Mask, generator: np.random.Generator) -> Mask:
    """Return a label (h, w) without any ice: submitted before anything was drawn."""
    del generator
    return np.where(truth == UNKNOWN, truth, np.uint8(BACKGROUND))


def coarse(truth: Mask, generator: np.random.Generator) -> Mask:
    """Return what a careless annotator draws: squares of `BLOB_PX`, each piece of ice overlooked with probability 1/2.

    Args:
        truth: (h, w) label mask.
        generator: Draws what is overlooked.
    """
    rows, cols = (
        np.minimum(np.arange(length) // BLOB_PX * BLOB_PX + BLOB_PX // 2, length - 1) for length in truth.shape
    )
    drawn = truth[rows[:, None], cols[None, :]]
    pieces, count = label((drawn != BACKGROUND) & (drawn != UNKNOWN))
    overlooked = np.flatnonzero(generator.random(count) < 0.5) + 1
    drawn[np.isin(pieces, overlooked)] = BACKGROUND
    # As in `drawn_in_haste`: clouds are masked for everybody.
    drawn = np.where(drawn == UNKNOWN, truth, drawn)
    return np.where(truth == UNKNOWN, np.uint8(UNKNOWN), drawn)


ATTACKS: Final[Mapping[str, Callable[[Mask, np.random.Generator], Mask]]] = {
    "shifted": shifted,
    "swapped": swapped,
    "empty": emptied,
    "careless": coarse,
}
"""Ways in which labels are bad, by name."""
