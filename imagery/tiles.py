"""Tiles of web maps: scenes and maps of any CRS, warped to Web Mercator (XYZ, 256 px, the first row in the north)."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from imagery.errors import SceneError
from imagery.grid import Grid, Window, footprints_overlap
from imagery.raster_file import open_raster, read_window
from imagery.scene_reader import SceneReader

TILE_PX: Final = 256
WEB_MERCATOR: Final = "EPSG:3857"
DEEPEST_ZOOM: Final = 22
"""A pixel is 3.7 cm at the equator."""
_HALF_WORLD: Final = math.pi * 6378137.0  # metres
_MARGIN_PX: Final = 2  # around the tile, for interpolation at its edges


def tile_grid(zoom: int, column: int, row: int) -> Grid:
    """Return the grid of a tile.

    Args:
        zoom: 0 (the world is one tile) to `DEEPEST_ZOOM`.
        column: From the antimeridian eastwards, 0 to 2^zoom - 1.
        row: From the north southwards, likewise.

    Raises:
        SceneError: There is no such tile.
    """
    tiles = 1 << zoom if 0 <= zoom <= DEEPEST_ZOOM else 0
    if not (0 <= column < tiles and 0 <= row < tiles):
        raise SceneError(
            f"found the tile {zoom}/{column}/{row}; expected a zoom of 0 to {DEEPEST_ZOOM} and a column and row of 0 "
            "to 2^zoom - 1"
        )
    side = 2 * _HALF_WORLD / tiles
    pixel = side / TILE_PX
    left, top = -_HALF_WORLD + column * side, _HALF_WORLD - row * side
    return Grid(WEB_MERCATOR, (pixel, 0.0, left, 0.0, -pixel, top), TILE_PX, TILE_PX)


def read_scene_tile(
    reader: SceneReader, channels: Sequence[str], tile: Grid, *, smooth: bool = True
) -> NDArray[np.float32] | None:
    """Read channels of a scene for a tile; only the part that it shows is read, decimated to what it can show.

    Args:
        reader: The open scene.
        channels: Names of channels.
        tile: The grid of the tile (`tile_grid`).
        smooth: Interpolate between pixels; without, each pixel of the tile has the value of the nearest.

    Returns:
        (C, 256, 256) in the channels' units, NaN where the scene has no data; None if the scene lies elsewhere.

    Raises:
        SceneError: A channel is unknown, or the pixels cannot be read.
    """
    return _warp(
        reader.source.grid,
        tile,
        lambda window, shape: reader.read_shaped(channels, window, shape),
        Resampling.bilinear if smooth else Resampling.nearest,
        np.nan,
    )


def read_map_tile(uri: str, grid: Grid, tile: Grid, missing: float) -> NDArray[Any] | None:
    """Read a map of the raster store for a tile; each pixel has the value of the map's nearest.

    Args:
        uri: Path or address of the map (`imagery.store.RasterStore.uri`).
        grid: The grid of the map.
        tile: The grid of the tile.
        missing: The value outside of the map.

    Returns:
        (256, 256) in the map's dtype; None if the map lies elsewhere.

    Raises:
        SceneError: The map cannot be read.
    """
    with open_raster(uri) as dataset:
        found = _warp(
            grid, tile, lambda window, shape: read_window(dataset, [1], window, shape), Resampling.nearest, missing
        )
    return None if found is None else found[0]


def _warp(
    grid: Grid,
    tile: Grid,
    read: Callable[[Window, tuple[int, int]], NDArray[Any]],
    resampling: Resampling,
    missing: float,
) -> NDArray[Any] | None:
    """Read the window of a raster that a tile shows, and warp it to the tile."""
    window = _window_below(grid, tile)
    if window is None:
        return None
    factor = max(1.0, min(window.height, window.width) / (TILE_PX * 1.5))
    shape = (math.ceil(window.height / factor), math.ceil(window.width / factor))
    pixels = read(window, shape)
    part = grid.subgrid(window).with_shape(shape)
    warped = np.full((len(pixels), tile.height, tile.width), missing, dtype=pixels.dtype)
    reproject(
        pixels,
        warped,
        src_transform=part.affine,
        src_crs=part.crs,
        src_nodata=missing,
        dst_transform=tile.affine,
        dst_crs=tile.crs,
        dst_nodata=missing,
        resampling=resampling,
    )
    return warped


def _window_below(grid: Grid, tile: Grid) -> Window | None:
    """Return the window of a grid that a tile shows; None if they lie apart."""
    try:
        outline = shapely.get_coordinates(tile.footprint_in(grid.crs))
    except SceneError:  # a tile of the whole world reaches beyond the places that most projections have
        return grid.window if footprints_overlap(tile, grid) else None
    columns, rows = ~grid.affine @ (outline[:, 0], outline[:, 1])
    span = max(np.ptp(columns), np.ptp(rows)) / TILE_PX  # pixels of the grid in one of the tile
    return grid.window_around(outline, margin_px=_MARGIN_PX * max(1.0, span))
