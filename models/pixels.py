"""Pixels as rows of a table, for classifiers of single pixels."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LabelledPatch = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Raw values (C, h, w) float32 with NaN = nodata, and the mask (h, w) uint8 of the same pixels."""


@dataclass(frozen=True)
class PixelSample:
    """Labelled pixels.

    Attributes:
        features: (n, C) float32, raw values, free of NaN; one row a pixel, one column a channel.
        classes: (n,) uint8, the class of each pixel.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.uint8]


def sample_pixels(patches: Iterable[LabelledPatch], count: int, ignore_index: int, seed: int) -> PixelSample:
    """Draw pixels uniformly and without replacement from the patches, which are read once, one at a time.

    Baraka et al. 2020 (table 1) sample pixels "from train slices", and do not say how. Here every judged pixel with
    all channels valid has the same probability, so that the classes keep their shares: a class-balanced draw would
    change the priors that a classifier learns, and raise the false alarms of the rare class, while the U-Net that it is
    compared with is trained on the true shares.

    Reservoir sampling: each pixel gets a random key, and the ``count`` pixels with the smallest keys are kept. Memory
    does not grow with the number of patches.

    Args:
        patches: Training patches; C is the same in all, h and w may differ.
        count: Pixels to draw. All are returned, in random order, when there are fewer.
        ignore_index: Mask value of pixels that nobody judged.
        seed: The draw depends only on it and on the patches.

    Returns:
        The sample.

    Raises:
        ValueError: ``count`` is not positive, a mask and its image differ in shape, or no pixel is judged and valid.
    """
    if count < 1:
        raise ValueError(f"{count} pixels were asked for; at least 1 is needed")
    generator = np.random.default_rng(seed)
    sample: PixelSample | None = None
    keys: NDArray[np.float64] = np.empty(0)
    for raw, mask in patches:
        candidates = _usable_pixels(raw, mask, ignore_index)
        keys = np.concatenate([keys, generator.random(len(candidates.classes))])
        sample = candidates if sample is None else _concatenate(sample, candidates)
        kept = np.argsort(keys)[:count]
        sample, keys = PixelSample(sample.features[kept], sample.classes[kept]), keys[kept]
    if sample is None or not len(sample.classes):
        raise ValueError(
            "no pixel of the training patches is judged and valid in all channels; "
            "give patches with labels, and leave out a channel that is nodata everywhere"
        )
    return sample


def as_rows(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reshape an image into a table with one row per pixel.

    Args:
        raw: (C, h, w).

    Returns:
        (h * w, C), row by row of the image.
    """
    return raw.reshape(len(raw), -1).T


def _usable_pixels(raw: NDArray[np.float32], mask: NDArray[np.uint8], ignore_index: int) -> PixelSample:
    if raw.ndim != 3 or raw.shape[1:] != mask.shape:
        raise ValueError(
            f"the image has shape {raw.shape}, its mask {mask.shape}; expected (C, h, w) and (h, w) of the same ground"
        )
    usable = (mask != ignore_index) & ~np.isnan(raw).any(axis=0)
    return PixelSample(np.ascontiguousarray(raw[:, usable].T), mask[usable])


def _concatenate(first: PixelSample, second: PixelSample) -> PixelSample:
    return PixelSample(
        np.concatenate([first.features, second.features]), np.concatenate([first.classes, second.classes])
    )
