"""Resampling rasters of another resolution or CRS onto a scene's grid, window by window."""

import math
from typing import Final, TypeVar

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT

from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.raster_file import read_window, read_with_nan

F = TypeVar("F", np.float32, np.float64)

# If this many pixels of the file, or more, lie side by side in one pixel of the scene, their mean represents it better
# than an interpolation of the four nearest.
_AVERAGE_FROM: Final = 1.5
# Neighbours that the resampling kernels use beyond the window's edge.
_MARGIN_PX: Final = 2
# GDAL interpolates coordinates along each row, by default within an error of 0.125 px. That error depends on where the
# row begins, so that windows of one scene would disagree; with this tolerance they agree exactly.
_TOLERANCE_PX: Final = 1e-6
# By default GDAL widens the bilinear kernel by a ratio that it estimates from the sizes of the window and of the pixels
# read for it, margin included: a window of one pixel would become a mean of its surroundings.
_FOUR_NEAREST: Final = {"XSCALE": 1, "YSCALE": 1}


def method_for(file_grid: Grid, scene_grid: Grid) -> Resampling:
    """Choose how measurements are resampled from a file's grid to the scene's; the same for the whole scene.

    Values are interpolated bilinearly (60 m thermal to 30 m), or averaged over each pixel of the scene if the file is
    at least 1.5 times finer (15 m panchromatic to 30 m).

    Raises:
        SceneError: There is no transformation between the grids' CRSs.
    """
    pixels_across = math.sqrt(_footprint_in_pixels(file_grid, scene_grid).area / (scene_grid.width * scene_grid.height))
    return Resampling.average if pixels_across >= _AVERAGE_FROM else Resampling.bilinear


def check_overlaps(path: str, file_grid: Grid, scene_grid: Grid) -> None:
    """Raise an error for a file that does not overlap the scene.

    Raises:
        SceneError: It does not, or there is no transformation between the CRSs.
    """
    footprint = _footprint_in_pixels(file_grid, scene_grid)
    if footprint.intersection(shapely.box(0, 0, file_grid.width, file_grid.height)).area == 0:
        raise SceneError(
            f"{path}: found a file that misses the scene's ground ({scene_grid.bounds} in {scene_grid.crs}); its own "
            f"is {file_grid.bounds} in {file_grid.crs}; expected one that covers the scene"
        )


def read_onto(
    dataset: DatasetReader,
    index: int,
    file_grid: Grid,
    grid: Grid,
    method: Resampling,
    *,
    decimation: float = 1.0,
    alpha: int | None = None,
    nodata: float | None = None,
) -> NDArray[np.float32]:
    """Read one band of a file onto a grid of another resolution, origin or CRS.

    Only the part of the file under the grid is read. Nodata never enters a mean, so it does not bleed into valid
    pixels. A pixel whose centre lies on nodata stays nodata, however near a valid pixel is, unless it is the mean of
    finer pixels of which some are valid.

    Args:
        dataset: The open file.
        index: The 1-based band index.
        file_grid: The file's own grid.
        grid: The grid on which values are wanted.
        method: The result of `method_for`.
        decimation: Factor by which `grid` is coarser than the scene's; the file is read decimated by it.
        alpha: The file's alpha band, or None.
        nodata: A value that means no data, in addition to what the file declares.

    Returns:
        (grid.height, grid.width), NaN where the file has no valid pixel.

    Raises:
        SceneError: The pixels cannot be read, or there is no transformation between the CRSs.
    """
    part = _part_under(grid, file_grid, decimation)
    if part is None:
        return np.full((grid.height, grid.width), np.nan, dtype=np.float32)
    window, shape, transform = part
    pixels = read_with_nan(dataset, [index], window, shape, alpha=alpha, nodata=nodata)[0]
    onto = warp(pixels, file_grid.crs, transform, grid, method)
    if method == Resampling.bilinear and np.isnan(pixels).any():
        onto[np.isnan(warp(pixels, file_grid.crs, transform, grid, Resampling.nearest))] = np.nan
    return onto


def read_nearest(dataset: DatasetReader, index: int, file_grid: Grid, grid: Grid) -> NDArray[np.float64]:
    """Read one band of flags or categories onto another grid: each pixel is the one of the file nearest to its centre.

    Args:
        dataset: The open file.
        index: The 1-based band index.
        file_grid: The file's own grid.
        grid: The grid on which flags are wanted.

    Returns:
        (grid.height, grid.width) stored numbers, NaN beyond the file.

    Raises:
        SceneError: As `read_onto`.
    """
    part = _part_under(grid, file_grid, 1.0)
    if part is None:
        return np.full((grid.height, grid.width), np.nan)
    window, _, transform = part
    stored = read_window(dataset, [index], window)[0].astype(np.float64)
    return warp(stored, file_grid.crs, transform, grid, Resampling.nearest)


def _part_under(grid: Grid, file_grid: Grid, decimation: float) -> tuple[Window, tuple[int, int], Affine] | None:
    """Return the part of a file under a grid: its window, its decimated shape, and the transform of that shape."""
    window = window_under(grid, file_grid, math.ceil(_MARGIN_PX * decimation))
    if window is None:
        return None
    shape = (math.ceil(window.height / decimation), math.ceil(window.width / decimation))
    step = Affine.scale(window.width / shape[1], window.height / shape[0])
    return window, shape, file_grid.window_transform(window) @ step


def warp(pixels: NDArray[F], crs: str, transform: Affine, grid: Grid, method: Resampling) -> NDArray[F]:
    """Resample an array (h, w), NaN where invalid, onto a grid; the same for every part of a grid."""
    profile = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype}
    profile |= {"height": pixels.shape[0], "width": pixels.shape[1]}
    onto_grid = {"crs": grid.crs, "transform": grid.affine, "width": grid.width, "height": grid.height}
    with MemoryFile() as memory:
        with memory.open(crs=crs, transform=transform, nodata=np.nan, **profile) as dataset:
            dataset.write(pixels, 1)
        with (
            memory.open(driver="GTiff") as dataset,
            WarpedVRT(
                dataset, resampling=method, nodata=np.nan, tolerance=_TOLERANCE_PX, **_FOUR_NEAREST, **onto_grid
            ) as warped,
        ):
            values: NDArray[F] = warped.read(1)
    return values


def _footprint_in_pixels(file_grid: Grid, grid: Grid) -> shapely.Polygon:
    """The footprint of a grid in columns and rows of a file."""
    a, b, c, d, e, f = (~file_grid.affine)[:6]
    return shapely.affinity.affine_transform(grid.footprint_in(file_grid.crs), [a, b, d, e, c, f])


def window_under(grid: Grid, file_grid: Grid, margin: int) -> Window | None:
    """Return the part of a file under a grid, with a margin in pixels around it; None if they do not overlap."""
    left, top, right, bottom = _footprint_in_pixels(file_grid, grid).bounds
    first_col, first_row = max(0, math.floor(left) - margin), max(0, math.floor(top) - margin)
    end_col = min(file_grid.width, math.ceil(right) + margin)
    end_row = min(file_grid.height, math.ceil(bottom) + margin)
    if first_col >= end_col or first_row >= end_row:
        return None
    return Window(first_row, first_col, end_row - first_row, end_col - first_col)
