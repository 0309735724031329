"""One open file of a scene, read on the scene's grid."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.grid import Grid, Window
from imagery.raster_file import alpha_index, read_window, read_with_nan
from imagery.resampling import method_for, read_nearest, read_onto, unwrapped
from imagery.scene_source import BandSource

# Rows of flags that are sampled together from a file on another grid, which bounds memory.
_STRIP_ROWS: Final = 64


def to_values(stored: NDArray[np.float32], raster: BandSource) -> NDArray[np.float32]:
    """Turn stored numbers into values, in place."""
    if (raster.scale, raster.offset) != (1.0, 0.0):
        stored *= np.float32(raster.scale)
        stored += np.float32(raster.offset)
    return stored


class SceneFile:
    """Reads bands of one file on the scene's grid, resampling them if the file is on another grid."""

    def __init__(
        self,
        dataset: DatasetReader,
        scene_grid: Grid,
        offset: tuple[int, int],
        file_grid: Grid | None,
        data_bands: Collection[int],
    ) -> None:
        """Take over an open dataset; the caller closes it.

        Args:
            dataset: The open file.
            scene_grid: The scene's grid.
            offset: Row and column of the scene's first pixel in the file, if the file is on the scene's grid.
            file_grid: The file's own grid if it is not the scene's, else None.
            data_bands: 1-based indexes of the bands known to hold data (see `imagery.raster_file.alpha_index`).
        """
        self.dataset = dataset
        self._scene_grid = scene_grid
        self._offset = offset
        self._file_grid = unwrapped(file_grid, scene_grid) if file_grid else None
        self._alpha = alpha_index(dataset, data_bands)

    def read(
        self,
        indexes: Sequence[int],
        window: Window,
        shape: tuple[int, int],
        nodata: float | None,
    ) -> NDArray[np.float32]:
        """Read continuous bands of a window.

        Args:
            indexes: 1-based band indexes.
            window: Relative to the scene's grid.
            shape: Rows and columns wanted: the window's own, or fewer.
            nodata: A stored number that means no data, in addition to what the file declares.

        Returns:
            (len(indexes), h, w) stored numbers, NaN where invalid.

        Raises:
            SceneError: The pixels cannot be read.
        """
        if self._file_grid is None:
            in_file = self._in_file(window)
            return read_with_nan(self.dataset, list(indexes), in_file, shape, alpha=self._alpha, nodata=nodata)
        grid, decimation = self._onto(window, shape)
        return np.stack([self._read_onto(self._file_grid, index, grid, nodata, decimation) for index in indexes])

    def read_flags(self, index: int, window: Window, shape: tuple[int, int], *, keep_nodata: bool) -> NDArray[Any]:
        """Read a band of flags or categories of a window, each pixel from the nearest one of the file.

        Args:
            index: 1-based band index.
            window: Relative to the scene's grid.
            shape: Rows and columns wanted: the window's own, or fewer.
            keep_nodata: Whether the file's nodata value is a number like others. It is where flags are decoded: Landsat
                and HLS declare the number that their flag "fill" has, others declare "clear".

        Returns:
            (h, w) stored numbers: of the file's own type where every pixel has one, else float64 (exact up to 2^53)
            with NaN beyond the file and where nodata is not kept.

        Raises:
            SceneError: The pixels cannot be read.
        """
        # A decimated reading of GDAL's would take overviews, in which categories may have been averaged.
        if self._file_grid is not None:
            grid, decimation = self._onto(window, shape)
            height = shape[0] if decimation == 1 else _STRIP_ROWS
            strips = (Window(row, 0, min(height, shape[0] - row), shape[1]) for row in range(0, shape[0], height))
            parts = [read_nearest(self.dataset, index, self._file_grid, grid.subgrid(strip)) for strip in strips]
            flags: NDArray[Any] = np.concatenate(parts)
        elif shape == window.shape:
            flags = read_window(self.dataset, [index], self._in_file(window))[0]
        else:
            flags = self._sampled(index, self._in_file(window), shape)
        if not keep_nodata:
            flags = np.where(flags == self.dataset.nodatavals[index - 1], np.nan, flags)
        return flags

    def _sampled(self, index: int, in_file: Window, shape: tuple[int, int]) -> NDArray[Any]:
        """Read the pixels of a window of the file that are nearest to the centres of fewer, larger pixels."""
        rows, cols = (
            ((np.arange(few) + 0.5) * many / few).astype(int) for few, many in zip(shape, in_file.shape, strict=True)
        )
        lines = (Window(in_file.row_off + int(row), in_file.col_off, 1, in_file.width) for row in rows)
        return np.stack([read_window(self.dataset, [index], line)[0, 0, cols] for line in lines])

    def _in_file(self, window: Window) -> Window:
        """Return a window of the scene in rows and columns of a file on the scene's grid."""
        row, col = self._offset
        return Window(row + window.row_off, col + window.col_off, window.height, window.width)

    def _onto(self, window: Window, shape: tuple[int, int]) -> tuple[Grid, float]:
        """Return the grid of the pixels wanted, and the factor by which it is coarser than the scene's."""
        return self._scene_grid.subgrid(window).with_shape(shape), max(1.0, window.height / shape[0])

    def read_own_grid(self, index: int, window: Window, nodata: float | None) -> NDArray[np.float32]:
        """Read one band of a window of the file's own grid, not resampled.

        Returns:
            (h, w), NaN where invalid.

        Raises:
            SceneError: The window reaches beyond the file, or the pixels cannot be read.
        """
        pixels: NDArray[np.float32] = read_with_nan(
            self.dataset, [index], window, None, alpha=self._alpha, nodata=nodata
        )[0]
        return pixels

    def _read_onto(
        self, file_grid: Grid, index: int, grid: Grid, nodata: float | None, decimation: float = 1.0
    ) -> NDArray[np.float32]:
        # The method is chosen for the whole scene, so that all its windows are resampled alike.
        method = method_for(file_grid, self._scene_grid)
        return read_onto(
            self.dataset, index, file_grid, grid, method, decimation=decimation, alpha=self._alpha, nodata=nodata
        )
