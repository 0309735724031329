"""Resampling rasters of another resolution or CRS onto a scene's grid, window by window."""

import math
import warnings
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT

from imagery.coordinates import format_bounds
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.projection import period, reproject
from imagery.raster_file import read_window, read_with_nan

F = TypeVar("F", np.float32, np.float64)

# If this many pixels of the file, or more, lie side by side in one pixel of the scene, their mean represents it better
# than an interpolation of the four nearest.
_AVERAGE_FROM: Final = 1.5
# Neighbours that the resampling kernels use beyond the window's edge.
MARGIN_PX: Final = 2
# GDAL interpolates coordinates along each row, by default within an error of 0.125 px. That error depends on where the
# row begins, so that windows of one scene would disagree; with this tolerance they agree exactly.
_TOLERANCE_PX: Final = 1e-6
# By default GDAL widens the bilinear kernel by a ratio that it estimates from the sizes of the window and of the pixels
# read for it, margin included: a window of one pixel would become a mean of its surroundings. And it would take a pixel
# as valid in all bands if it is in one.
_WARP_OPTIONS: Final = {"XSCALE": 1, "YSCALE": 1, "UNIFIED_SRC_NODATA": "NO"}


def method_for(file_grid: Grid, scene_grid: Grid) -> Resampling:
    """Choose how measurements are resampled from a file's grid to the scene's; the same for the whole scene.

    Values are interpolated bilinearly (60 m thermal to 30 m), or averaged over each pixel of the scene if the file is
    at least 1.5 times finer (15 m panchromatic to 30 m).

    Raises:
        SceneError: There is no transformation between the grids' CRSs.
    """
    return Resampling.average if pixels_across(file_grid, scene_grid) >= _AVERAGE_FROM else Resampling.bilinear


def check_overlaps(path: str, file_grid: Grid, scene_grid: Grid) -> None:
    """Raise an error for a file that does not overlap the scene, or whose place on it is not known.

    Raises:
        SceneError: It does not; or there is no transformation between the CRSs, or none that knows how their datums lie
            to each other (see `Grid.check_shift`).
    """
    if not overlaps(file_grid, scene_grid):
        raise SceneError(
            f"{path}: found a file that misses the scene's ground ({format_bounds(scene_grid.bounds)} in "
            f"{scene_grid.crs}); its own is {format_bounds(file_grid.bounds)} in {file_grid.crs}; expected one that "
            "covers the scene"
        )
    try:
        scene_grid.check_shift(file_grid.crs)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def overlaps(file_grid: Grid, scene_grid: Grid) -> bool:
    """Return whether a file and a scene share some ground.

    Raises:
        SceneError: There is no transformation between the CRSs.
    """
    file_grid = unwrapped(file_grid, scene_grid)
    footprint = _footprint_in_pixels(file_grid, scene_grid)
    return bool(footprint.intersection(shapely.box(0, 0, file_grid.width, file_grid.height)).area > 0)


def unwrapped(file_grid: Grid, scene_grid: Grid) -> Grid:
    """Return a file's grid in a CRS in which the scene is in one piece.

    Longitudes of a file in degrees may be counted from 0 to 360 or beyond: they are shifted by whole turns to those of
    the scene. Across the 180th meridian, longitudes from Greenwich jump within the scene. They are counted from the
    180th meridian instead, which places the files on either side of it beside each other. Other grids are returned as
    they are.

    Raises:
        SceneError: There is no transformation between the CRSs.
    """
    crs = CRS.from_user_input(file_grid.crs)
    if not crs.is_geographic:
        return file_grid
    if scene_grid.footprint_wgs84().geom_type == "Polygon":
        return _turned_to(scene_grid, file_grid)
    west, _, east, _ = file_grid.bounds
    turn = -180.0 if (west + east) / 2 > 0 else 180.0
    a, b, c, d, e, f = file_grid.transform
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names are lost in a PROJ string; datum and ellipsoid are not
        turned = CRS.from_dict({**crs.to_dict(), "pm": 180})
    return Grid(turned.to_wkt(), (a, b, c + turn, d, e, f), file_grid.width, file_grid.height)


def _turned_to(scene_grid: Grid, file_grid: Grid) -> Grid:
    """Shift a grid in degrees by as many whole turns as bring its middle nearest to that of a scene."""
    turn = period(file_grid.crs) or 360.0
    middle = shapely.Point(scene_grid.affine @ (scene_grid.width / 2, scene_grid.height / 2))
    west, _, east, _ = file_grid.bounds
    turns = round((reproject(middle, scene_grid.crs, file_grid.crs).x - (west + east) / 2) / turn)
    a, b, c, d, e, f = file_grid.transform
    return replace(file_grid, transform=(a, b, c + turns * turn, d, e, f)) if turns else file_grid


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
        file_grid: The file's own grid, `unwrapped` for the scene.
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
    pixels = read_with_nan(dataset, [index], window, shape, alpha=alpha, nodata=nodata)
    onto: NDArray[np.float32] = resample(pixels, file_grid.crs, transform, grid, method)[0]
    return onto


def resample(
    layers: NDArray[np.float32], crs: str, transform: Affine, grid: Grid, method: Resampling
) -> NDArray[np.float32]:
    """Resample layers of one grid onto another, each by itself; see `read_onto`.

    Args:
        layers: (c, h, w), NaN where missing: all pixels that lie under the grid, and `MARGIN_PX` around them.
        crs: The CRS of the layers.
        transform: The transform of the layers.
        grid: The grid on which values are wanted.
        method: The result of `method_for`.

    Returns:
        (c, grid.height, grid.width), NaN where there is no valid pixel.
    """
    onto = _warp_layers(layers, crs, transform, grid, method)
    if method == Resampling.bilinear and np.isnan(layers).any():
        onto[np.isnan(_warp_layers(layers, crs, transform, grid, Resampling.nearest))] = np.nan
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
    window = window_under(grid, file_grid, math.ceil(MARGIN_PX * decimation))
    if window is None:
        return None
    shape = (math.ceil(window.height / decimation), math.ceil(window.width / decimation))
    step = Affine.scale(window.width / shape[1], window.height / shape[0])
    return window, shape, file_grid.window_transform(window) @ step


def warp(pixels: NDArray[F], crs: str, transform: Affine, grid: Grid, method: Resampling) -> NDArray[F]:
    """Resample an array (h, w), NaN where invalid, onto a grid; the same for every part of a grid."""
    warped: NDArray[F] = _warp_layers(pixels[None], crs, transform, grid, method)[0]
    return warped


def _warp_layers(layers: NDArray[F], crs: str, transform: Affine, grid: Grid, method: Resampling) -> NDArray[F]:
    count, height, width = layers.shape
    profile = {"driver": "GTiff", "count": count, "dtype": layers.dtype, "height": height, "width": width}
    onto_grid = {"crs": grid.crs, "transform": grid.affine, "width": grid.width, "height": grid.height}
    with MemoryFile() as memory:
        with memory.open(crs=crs, transform=transform, nodata=np.nan, **profile) as dataset:
            dataset.write(layers)
        with (
            memory.open(driver="GTiff") as dataset,
            WarpedVRT(
                dataset, resampling=method, nodata=np.nan, tolerance=_TOLERANCE_PX, **_WARP_OPTIONS, **onto_grid
            ) as warped,
        ):
            values: NDArray[F] = warped.read()
    return values


def _footprint_in_pixels(file_grid: Grid, grid: Grid) -> shapely.Polygon:
    """The footprint of a grid in columns and rows of a file."""
    a, b, c, d, e, f = (~file_grid.affine)[:6]
    return shapely.affinity.affine_transform(grid.footprint_in(file_grid.crs), [a, b, d, e, c, f])


def pixels_across(file_grid: Grid, scene_grid: Grid) -> float:
    """Return how many pixels of a file lie side by side in one of the scene's, on average.

    Raises:
        SceneError: There is no transformation between the grids' CRSs.
    """
    return math.sqrt(_footprint_in_pixels(file_grid, scene_grid).area / (scene_grid.width * scene_grid.height))


def window_under(grid: Grid, file_grid: Grid, margin: int) -> Window | None:
    """Return the part of a file under a grid, with a margin in pixels around it; None if they do not overlap.

    Raises:
        SceneError: There is no transformation between the grids' CRSs.
    """
    return file_grid.window_around(shapely.get_coordinates(grid.footprint_in(file_grid.crs)), margin)
