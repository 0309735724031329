"""A real place as the ground of a synthetic scene: its relief and glacier outlines, on pixels of 30 m in UTM."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from imagery.classes import GLACIER_SCHEME
from imagery.describe_elevation import describe_dem
from imagery.elevation import HIGHEST_M, LOWEST_M
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.raster_file import grid_of, open_raster
from imagery.resampling import resample, window_under
from imagery.scene_file import SceneFile, to_values
from imagery.synthetic_terrain import PIXEL_M

_MARGIN_PX: Final = 3  # neighbours that the spline uses
_UTM_LATITUDES: Final = (-80.0, 84.0)


@dataclass(frozen=True)
class Site:
    """Relief and outlines of a place.

    Attributes:
        grid: Pixels of 30 m in the UTM zone of the place.
        elevation_m: (H, W) metres, NaN where the elevation model has none.
        classes: (H, W) label mask of the outlines.
    """

    grid: Grid
    elevation_m: NDArray[np.float32]
    classes: NDArray[np.uint8]


def site_grid(dem: str, height: int, width: int, origin_m: tuple[float, float] | None = None) -> Grid:
    """Return a grid of 30 m in the UTM zone of an elevation model.

    Args:
        dem: Path of the elevation model.
        height: Rows.
        width: Columns.
        origin_m: Easting and northing of the outer corner of the first pixel; by default the middle of the grid is that
            of the elevation model.

    Raises:
        SceneError: The file cannot be read, or UTM does not cover its middle.
    """
    with open_raster(dem) as dataset:
        file_grid = grid_of(dataset)
    longitude, latitude = file_grid.centre_wgs84()
    if not _UTM_LATITUDES[0] <= latitude <= _UTM_LATITUDES[1]:
        raise SceneError(f"{dem}: found a middle at latitude {latitude:.1f}; expected -80 to 84, which UTM covers")
    zone = math.floor((longitude + 180) / 6) % 60 + 1
    crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
    if origin_m is None:
        left, bottom, right, top = file_grid.footprint_in(crs).bounds
        centre = (left + right) / 2, (bottom + top) / 2
        # Whole multiples of the pixel, so that scenes of one place line up.
        origin_m = (
            PIXEL_M * round((centre[0] - width * PIXEL_M / 2) / PIXEL_M),
            PIXEL_M * round((centre[1] + height * PIXEL_M / 2) / PIXEL_M),
        )
    return Grid(crs, (PIXEL_M, 0.0, origin_m[0], 0.0, -PIXEL_M, origin_m[1]), width, height)


def read_site(dem: str, outlines: Sequence[OutlineLayer], grid: Grid) -> Site:
    """Read elevation and outlines onto a grid.

    Elevation is interpolated by cubic splines: bilinear interpolation of a coarse model would leave facets, which
    sunlight shows.

    Raises:
        SceneError: The elevation model cannot be used or misses the grid (`imagery.describe_elevation.describe_dem`).
        OutlineError: The outlines cannot be used or miss the grid (`imagery.masks.read_outlines`).
    """
    (tile,), _ = describe_dem([dem], grid)
    with open_raster(dem) as dataset:
        file_grid = grid_of(dataset)
        part = window_under(grid, file_grid, _MARGIN_PX) or file_grid.window
        file = SceneFile(dataset, grid, (0, 0), file_grid, ())
        metres = to_values(file.read_own_grid(tile.index, part, tile.nodata), tile)
    metres[(metres < LOWEST_M) | (metres > HIGHEST_M)] = np.nan
    crs, transform = file_grid.crs, file_grid.window_transform(part)
    (elevation_m,) = resample(metres[None], crs, transform, grid, Resampling.cubic_spline)
    (nearest,) = resample(metres[None], crs, transform, grid, Resampling.nearest)
    elevation_m[np.isnan(nearest)] = np.nan
    return Site(grid, elevation_m, rasterize_outlines(outlines, grid, GLACIER_SCHEME))
