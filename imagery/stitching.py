"""Putting patch arrays together into a scene raster, blended where they overlap."""

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window


class Stitcher:
    """Collects windows of a raster and blends them.

    Each window weighs most in its middle, where a network sees context on all sides, and least at its edges: the outer
    product of sin^2(pi * (i + 0.5) / n), a raised cosine sampled at pixel centres, so positive on every pixel. The
    result is the weighted mean, hence exact wherever the windows agree.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        """Prepare an empty raster of the given size; memory is 4 * (channels + 1) bytes a pixel."""
        self._sum: NDArray[np.float32] = np.zeros((channels, height, width), dtype=np.float32)
        self._weight: NDArray[np.float32] = np.zeros((height, width), dtype=np.float32)

    def add(self, window: Window, array: NDArray[np.float32]) -> None:
        """Blend one window in.

        Args:
            window: Where it lies.
            array: (C, h, w), finite.

        Raises:
            SceneError: The array is not of the window's size, holds NaN or infinity, or reaches beyond the raster.
        """
        channels, height, width = self._sum.shape
        if array.shape != (channels, *window.shape):
            raise SceneError(f"found an array of shape {array.shape}; expected {(channels, *window.shape)}")
        if window.row_off + window.height > height or window.col_off + window.width > width:
            raise SceneError(f"found {window}; expected it inside {height} rows x {width} columns")
        if not np.isfinite(array).all():
            raise SceneError(f"found NaN or infinity in the array of {window}; expected finite values")
        weight = np.outer(_raised_cosine(window.height), _raised_cosine(window.width))
        rows, cols = window.slices
        self._sum[:, rows, cols] += weight * array
        self._weight[rows, cols] += weight

    def result(self) -> NDArray[np.float32]:
        """The blended raster, (C, H, W).

        Raises:
            SceneError: Some pixel lies in no window added.
        """
        missing = self._weight == 0
        if missing.any():
            row, col = np.argwhere(missing)[0]
            raise SceneError(
                f"found {int(missing.sum())} pixels that no window covered, the first at row {row}, column {col}; "
                "expected windows over the whole raster, as imagery.grid.tile gives them"
            )
        blended: NDArray[np.float32] = self._sum / self._weight
        return blended


def _raised_cosine(length: int) -> NDArray[np.float32]:
    phase = np.pi * (np.arange(length) + 0.5) / length
    weights: NDArray[np.float32] = (np.sin(phase) ** 2).astype(np.float32)
    return weights
