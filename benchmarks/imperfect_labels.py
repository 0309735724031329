"""Imperfect label masks, made from the truth: what a hasty annotator draws, and what an old inventory shows."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label, shift

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
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


def old_outlines(truth: Mask, seed: int, shift_px: int = 2, missing: float = 0.2, debris: bool = True) -> Mask:
    """Return an out-of-date inventory of the same ground: shifted, a pixel too large, some glaciers missing.

    Args:
        truth: (H, W) label mask of the glacier scheme.
        seed: Chooses the direction of the shift and the missing glaciers.
        shift_px: Length of the shift along each axis.
        missing: Share of the connected ice masses that are missing.
        debris: Whether the inventory tells debris-covered from clean ice.

    Returns:
        (H, W) label mask without unknown pixels.
    """
    generator = np.random.default_rng(seed)
    known = np.where(truth == UNKNOWN, np.uint8(BACKGROUND), truth)
    moved = shift(known, generator.choice([-shift_px, shift_px], size=2), order=0, mode="nearest")
    masses, count = label(moved != BACKGROUND)
    lost = 1 + np.flatnonzero(generator.random(count) < missing)
    moved[np.isin(masses, lost)] = BACKGROUND
    old: Mask = np.full(truth.shape, BACKGROUND, dtype=np.uint8)
    for entry in (CLEAN_ICE, DEBRIS_COVERED_ICE):  # in rising precedence
        value = entry.value if debris else CLEAN_ICE.value
        old[binary_dilation(moved == entry.value, iterations=1)] = value
    return old
