"""One open file of a scene, read on the scene's grid."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.geotiff import alpha_index, read_with_nan
from imagery.grid import Grid, Window
from imagery.resampling import method_for, read_onto, unwrapped
from imagery.scene_source import BandSource


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
            data_bands: 1-based indexes of the bands known to hold data (see `imagery.geotiff.alpha_index`).
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
        categorical: Collection[int] = (),
    ) -> NDArray[np.float32]:
        """Read bands of a window.

        Args:
            indexes: 1-based band indexes.
            window: Relative to the scene's grid.
            shape: Rows and columns wanted: the window's own, or fewer.
            nodata: A value that means no data, in addition to what the file declares.
            categorical: Those of the indexes that hold categories or flags, which must not be averaged.

        Returns:
            (len(indexes), h, w), NaN where invalid.

        Raises:
            SceneError: The pixels cannot be read.
        """
        if self._file_grid is None:
            row, col = self._offset
            in_file = Window(row + window.row_off, col + window.col_off, window.height, window.width)
            return read_with_nan(self.dataset, list(indexes), in_file, shape, alpha=self._alpha, nodata=nodata)
        grid = self._scene_grid.subgrid(window).with_shape(shape)
        decimation = max(1.0, window.height / shape[0])
        return np.stack(
            [
                self._read_onto(self._file_grid, index, grid, nodata, index in categorical, decimation)
                for index in indexes
            ]
        )

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
        self, file_grid: Grid, index: int, grid: Grid, nodata: float | None, categorical: bool, decimation: float = 1.0
    ) -> NDArray[np.float32]:
        # The method is chosen for the whole scene, so that all its windows are resampled alike.
        method = method_for(file_grid, self._scene_grid, categorical=categorical)
        return read_onto(
            self.dataset, index, file_grid, grid, method, decimation=decimation, alpha=self._alpha, nodata=nodata
        )
