"""Image objects: segments of similar pixels, the means of channels over them, and the regions that an expert edits."""

import warnings

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import felzenszwalb

Labels = NDArray[np.int64]

LEAST_OBJECT_PX = 9
"""Smaller segments are merged with a neighbour."""


def segment(image: NDArray[np.float32], scale: float) -> Labels:
    """Cut an image into objects of similar pixels (Felzenszwalb & Huttenlocher 2004).

    The method merges regions, bottom-up, as long as they differ less than they vary within. So does the multiresolution
    segmentation of eCognition (Baatz & Schäpe 2000), which is not open and for which this one stands; it weighs shape
    besides colour, this one does not.

    Args:
        image: (B, h, w) bands of comparable spread, such as standardised ones; no NaN.
        scale: The higher, the larger the objects.

    Returns:
        (h, w) numbers of the objects, from 0.
    """
    with warnings.catch_warnings():
        # scikit-image suspects a stack of images where there are not three bands.
        warnings.filterwarnings("ignore", "Got image with third dimension of", RuntimeWarning)
        labels = felzenszwalb(np.moveaxis(image, 0, -1), scale=scale, sigma=0.8, min_size=LEAST_OBJECT_PX)
    return np.asarray(labels, dtype=np.int64)


def object_means(values: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """Return the mean of each channel over the valid pixels of each object.

    Args:
        values: (F, h, w), NaN = nodata.
        labels: (h, w) numbers of the objects, from 0 to O - 1.

    Returns:
        (O, F); NaN where an object has no valid pixel.
    """
    numbers, count = labels.ravel(), int(labels.max()) + 1
    means = np.full((count, len(values)), np.nan)
    for feature, channel in enumerate(values.reshape(len(values), -1)):
        valid = ~np.isnan(channel)
        pixels = np.bincount(numbers[valid], minlength=count)
        sums = np.bincount(numbers[valid], weights=channel[valid].astype(np.float64), minlength=count)
        np.divide(sums, pixels, out=means[:, feature], where=pixels > 0)
    return means


def regions_to_edit(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], ignore_index: int, least_px: int = 1
) -> int:
    """Count the connected regions that an expert has to give another class: wrong pixels of one true class.

    Args:
        predicted: (h, w) classes.
        truth: (h, w) true classes, or ``ignore_index``.
        ignore_index: Value of pixels that nobody judged; they need no edit.
        least_px: Smaller regions are not counted. Pixels are connected to all eight neighbours.
    """
    wrong = (predicted != truth) & (truth != ignore_index)
    to_become = np.where(wrong, truth.astype(np.int64) + 1, 0)
    regions = np.asarray(label(to_become, background=0, connectivity=2))  # type: ignore[no-untyped-call]
    sizes = np.bincount(regions.ravel())[1:]
    return int((sizes >= least_px).sum())
