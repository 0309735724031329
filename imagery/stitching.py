"""Merging arrays of overlapping windows into a scene raster, blended, strip by strip."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window

_STRIP_ROWS: Final = 64  # rows yielded together: few, so that arrays computed from them stay small beside the buffer


def stitch(
    parts: Iterable[tuple[Window, NDArray[np.float32]]], height: int, width: int, *, holes: bool = False
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Blend windows into a raster, yielding its rows as soon as no later window can change them.

    The weight of a window is greatest in its middle, where a network sees context on all sides, and least at its edges:
    the outer product of sin^2(pi * (i + 0.5) / n), a raised cosine sampled at pixel centres and so positive on every
    pixel. The result is the weighted mean, hence exact wherever the windows agree. Only the rows that later windows may
    change are kept: memory is 4 * (C + 1) * (a window's height) * W bytes, however many rows the raster has.

    Args:
        parts: Windows with their arrays (C, h, w), finite, all with the same C. Windows are sorted by first row, the
            order in which `imagery.grid.tile` returns them.
        height: Rows of the raster.
        width: Columns of the raster.
        holes: Whether pixels may be outside all windows; they become NaN.

    Yields:
        First row and blended array (C, rows, W) of consecutive strips from row 0 to the last row.

    Raises:
        SceneError: A window begins above the one before it, reaches beyond the raster, or has an array that is not of
            its size or contains NaN or infinity; or a pixel is in no window although holes are not allowed.
    """
    buffer = None
    for window, array in parts:
        _check(window, array, height, width)
        if buffer is None:
            buffer = _RowBuffer(array.shape[0], window.height, width, holes=holes)
        if window.row_off > buffer.top:
            yield from buffer.rows_above(window.row_off)
        buffer.add(window, array)
    if buffer is None:
        raise SceneError("found no window to stitch; expected windows over the whole raster")
    yield from buffer.rows_above(height)


class _RowBuffer:
    """The rows that later windows may change: weighted sums (C, rows, W) and weights (rows, W) from row `top` on.

    The arrays are allocated once and shifted in place; rows beyond those in use hold zeros.
    """

    def __init__(self, channels: int, height: int, width: int, *, holes: bool) -> None:
        self.top = 0
        self._holes = holes
        self._used = 0
        self._sum: NDArray[np.float32] = np.zeros((channels, height, width), dtype=np.float32)
        self._weight: NDArray[np.float32] = np.zeros((height, width), dtype=np.float32)

    def add(self, window: Window, array: NDArray[np.float32]) -> None:
        if array.shape[0] != self._sum.shape[0]:
            raise SceneError(
                f"found {array.shape[0]} channels in the array of {window}; expected {self._sum.shape[0]}, "
                "as in the windows before"
            )
        first = window.row_off - self.top
        if first < 0:
            raise SceneError(
                f"found {window} after a window that begins at row {self.top}; expected windows row by row, "
                "as imagery.grid.tile gives them"
            )
        self._extend(first + window.height)
        rows, cols = slice(first, first + window.height), window.slices[1]
        weight = np.outer(_raised_cosine(window.height), _raised_cosine(window.width))
        self._sum[:, rows, cols] += weight * array
        self._weight[rows, cols] += weight

    def rows_above(self, row: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the finished rows from `top` to `row`, which becomes the new `top`."""
        if not self._holes:
            self._extend(row - self.top)
        count = min(row - self.top, self._used)
        weight = self._weight[:count]
        missing = weight == 0
        if missing.any() and not self._holes:
            first, column = np.argwhere(missing)[0]
            raise SceneError(
                f"found {int(missing.sum())} pixels that no window covered, the first at row {self.top + first}, "
                f"column {column}; expected windows over the whole raster, as imagery.grid.tile gives them"
            )
        weight[missing] = np.nan
        for rows in _strips(0, count):
            yield self.top + rows.start, self._sum[:, rows] / weight[rows]
        for rows in _strips(self.top + count, row):
            yield rows.start, np.full((len(self._sum), rows.stop - rows.start, weight.shape[1]), np.float32(np.nan))
        left = self._used - count
        for layer in (*self._sum, self._weight):
            layer[:left] = layer[count : self._used]
            layer[left : self._used] = 0
        self.top, self._used = row, left

    def _extend(self, rows: int) -> None:
        """Make sure that `rows` rows are in use."""
        more = rows - self._weight.shape[0]
        if more > 0:  # a window that is higher than the first
            self._sum = np.pad(self._sum, ((0, 0), (0, more), (0, 0)))
            self._weight = np.pad(self._weight, ((0, more), (0, 0)))
        self._used = max(self._used, rows)


def _strips(first: int, end: int) -> Iterator[slice]:
    for start in range(first, end, _STRIP_ROWS):
        yield slice(start, min(start + _STRIP_ROWS, end))


def _check(window: Window, array: NDArray[np.float32], height: int, width: int) -> None:
    if array.ndim != 3 or array.shape[1:] != window.shape:
        raise SceneError(f"found an array of shape {array.shape}; expected (channels, {window.height}, {window.width})")
    if window.row_off + window.height > height or window.col_off + window.width > width:
        raise SceneError(f"found {window}; expected it inside {height} rows x {width} columns")
    if not np.isfinite(array).all():
        raise SceneError(f"found NaN or infinity in the array of {window}; expected finite values")


def _raised_cosine(length: int) -> NDArray[np.float32]:
    phase = np.pi * (np.arange(length) + 0.5) / length
    weights: NDArray[np.float32] = (np.sin(phase) ** 2).astype(np.float32)
    return weights
