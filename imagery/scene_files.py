"""One open file of a scene, read on the scene's grid."""

from collections.abc import Collection, Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.geotiff import alpha_index, read_measured
from imagery.grid import Grid, Window
from imagery.resampling import method_for, read_onto


class SceneFile:
    """Reads bands of one file where the scene wants them: as they are, or resampled from another grid."""

    def __init__(
        self,
        dataset: DatasetReader,
        scene_grid: Grid,
        offset: tuple[int, int],
        own_grid: Grid | None,
        claimed: Collection[int],
    ) -> None:
        """Take over an open dataset; the caller closes it.

        Args:
            dataset: The open file.
            scene_grid: The scene's grid.
            offset: Row and column of the scene's first pixel in the file, if the file is on the scene's grid.
            own_grid: The file's grid if it is another one, else None.
            claimed: 1-based indexes of the bands known to be data (see `imagery.geotiff.alpha_index`).
        """
        self.dataset = dataset
        self._scene_grid = scene_grid
        self._offset = offset
        self._own_grid = own_grid
        self._alpha = alpha_index(dataset, claimed)

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
            nodata: A value that means no data, besides whatever the file declares.
            categorical: Those of the indexes whose values have no mean.

        Returns:
            (len(indexes), h, w), NaN where invalid.

        Raises:
            SceneError: The pixels cannot be read.
        """
        if self._own_grid is None:
            row, col = self._offset
            in_file = Window(row + window.row_off, col + window.col_off, window.height, window.width)
            return read_measured(self.dataset, list(indexes), in_file, shape, alpha=self._alpha, nodata=nodata)
        grid = thinned(self._scene_grid.subgrid(window), shape)
        thinning = max(1.0, window.height / shape[0])
        return np.stack(
            [self._read_onto(self._own_grid, index, grid, nodata, index in categorical, thinning) for index in indexes]
        )

    def read_around(self, index: int, window: Window, nodata: float | None) -> NDArray[np.float32]:
        """Read a measured band of a window and of one pixel all around it, which may lie outside the scene.

        Returns:
            (h + 2, w + 2), NaN where invalid or beyond the file.

        Raises:
            SceneError: The pixels cannot be read.
        """
        if self._own_grid is not None:
            a, b, c, d, e, f = (self._scene_grid.window_transform(window) @ Affine.translation(-1, -1))[:6]
            grid = Grid(self._scene_grid.crs, (a, b, c, d, e, f), window.width + 2, window.height + 2)
            return self._read_onto(self._own_grid, index, grid, nodata, categorical=False)
        row, col = self._offset[0] + window.row_off, self._offset[1] + window.col_off
        top, left = max(0, row - 1), max(0, col - 1)
        bottom = min(self.dataset.height, row + window.height + 1)
        right = min(self.dataset.width, col + window.width + 1)
        there = Window(top, left, bottom - top, right - left)
        pixels = read_measured(self.dataset, [index], there, None, alpha=self._alpha, nodata=nodata)[0]
        missing = (
            (top - row + 1, row + window.height + 1 - bottom),
            (left - col + 1, col + window.width + 1 - right),
        )
        around: NDArray[np.float32] = np.pad(pixels, missing, constant_values=np.nan)
        return around

    def _read_onto(
        self, own_grid: Grid, index: int, grid: Grid, nodata: float | None, categorical: bool, thinning: float = 1.0
    ) -> NDArray[np.float32]:
        # Asked of the whole scene, so that all its windows are resampled alike.
        method = method_for(own_grid, self._scene_grid, categorical=categorical)
        return read_onto(
            self.dataset, index, own_grid, grid, method, thinning=thinning, alpha=self._alpha, nodata=nodata
        )


def thinned(grid: Grid, shape: tuple[int, int]) -> Grid:
    """The same ground in fewer, larger pixels."""
    height, width = shape
    a, b, c, d, e, f = (grid.affine @ Affine.scale(grid.width / width, grid.height / height))[:6]
    return Grid(grid.crs, (a, b, c, d, e, f), width, height)
