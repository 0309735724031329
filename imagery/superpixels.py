"""Superpixels: connected areas of pixels that look alike, to be assigned to a class as a whole."""

import math

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

_COMPACTNESS = 0.1  # low: areas follow edges rather than being square; bands have a standard deviation of 1


def superpixels(bands: NDArray[np.float32], side_px: int) -> NDArray[np.int32]:
    """Cut a window into superpixels by SLIC (Achanta et al. 2012) on its standardised bands. Deterministic.

    Args:
        bands: (C, h, w); a pixel with a NaN has no data and belongs to none.
        side_px: Side of a square with the mean area of a superpixel.

    Returns:
        (h, w) numbers from 1; 0 where there is no data.
    """
    known = np.isfinite(bands).all(axis=0)
    if not known.any():
        return np.zeros(known.shape, dtype=np.int32)
    mean, deviation = (figure(bands[:, known], axis=1)[:, None, None] for figure in (np.mean, np.std))
    tones = np.where(known, (bands - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)
    count = max(1, math.ceil(known.sum() / side_px**2))
    found: NDArray[np.int32] = slic(
        np.moveaxis(tones, 0, -1),
        n_segments=count,
        compactness=_COMPACTNESS,
        mask=None if known.all() else known,
        start_label=1,
        channel_axis=-1,
        enforce_connectivity=True,
    ).astype(np.int32)
    return found
