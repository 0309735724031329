"""Imperfect label masks, made from the truth: what a hasty annotator draws."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.synthetic_noise import smooth

Mask = NDArray[np.uint8]

_WOBBLE_PX: Final = 12  # wavelength of the errors of a hand-drawn border


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
