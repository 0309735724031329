"""Tiles show the pixel that lies where they say, whatever the grid of the scene."""

import math
from pathlib import Path

import numpy as np
import pytest

from imagery.band_names import bands_of_file
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.projection import transform_points
from imagery.scene_reader import SceneReader
from imagery.tiles import TILE_PX, WEB_MERCATOR, read_map_tile, read_scene_tile, tile_grid
from tests.imagery.forge import write_geotiff

HALF_WORLD_M = math.pi * 6378137.0
# Grids of 90 x 120 pixels near Everest, of about 30 m a pixel; rows from the south in the second.
GRIDS = {
    "UTM": ("EPSG:32645", (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0)),
    "UTM from the south": ("EPSG:32645", (30.0, 0.0, 478000.0, 0.0, 30.0, 3105440.0)),
    "degrees": ("EPSG:4326", (0.0003, 0.0, 86.78, 0.0, -0.0003, 28.098)),
    "rotated": ("EPSG:32645", (26.0, 15.0, 478000.0, 15.0, -26.0, 3107000.0)),
}


def tile_over(grid: Grid, zoom: int) -> tuple[int, int, int]:
    """The tile over the middle of a grid."""
    lon, lat = grid.centre_wgs84()
    (x, y), *_ = transform_points(np.array([[lon, lat]]), "EPSG:4326", WEB_MERCATOR)
    side = 2 * HALF_WORLD_M / 2**zoom
    return zoom, int((x + HALF_WORLD_M) / side), int((HALF_WORLD_M - y) / side)


def places(tile: Grid, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The column and row of a grid at the middle of each pixel of a tile, computed pixel by pixel."""
    columns, rows = np.meshgrid(np.arange(TILE_PX) + 0.5, np.arange(TILE_PX) + 0.5)
    at = np.stack(tile.affine @ (columns.ravel(), rows.ravel()), axis=1)
    x, y = transform_points(at, WEB_MERCATOR, grid.crs).T
    column, row = ~grid.affine @ (x, y)
    return column, row


def test_the_tile_of_zoom_0_is_the_world_and_its_four_parts_are_those_of_zoom_1():
    world = tile_grid(0, 0, 0)
    assert world.bounds == pytest.approx((-HALF_WORLD_M, -HALF_WORLD_M, HALF_WORLD_M, HALF_WORLD_M))
    assert tile_grid(1, 1, 0).bounds == pytest.approx((0, 0, HALF_WORLD_M, HALF_WORLD_M))  # the north-east
    assert (world.width, world.height) == (TILE_PX, TILE_PX)


@pytest.mark.parametrize("place", [(-1, 0, 0), (0, 1, 0), (3, 0, 8), (23, 0, 0)])
def test_a_tile_that_does_not_exist_is_refused(place: tuple[int, int, int]):
    with pytest.raises(SceneError, match="found the tile"):
        tile_grid(*place)


@pytest.mark.parametrize("name", GRIDS)
def test_each_pixel_has_the_value_of_the_scene_at_its_place(name: str, tmp_path: Path):
    crs, transform = GRIDS[name]
    values = np.arange(90 * 120, dtype=np.float32).reshape(90, 120)
    path = write_geotiff(tmp_path / "scene.tif", values[None], crs=crs, transform=transform, descriptions=["red"])
    source = describe(bands_of_file(str(path), None))
    tile = tile_grid(*tile_over(source.grid, 13))
    with SceneReader(source) as reader:
        found = read_scene_tile(reader, ["red"], tile, smooth=False)
    assert found is not None
    column, row = places(tile, source.grid)
    inside = (column >= 0) & (column < 120) & (row >= 0) & (row < 90)
    expected = np.full(column.shape, np.nan)
    expected[inside] = values[row[inside].astype(int), column[inside].astype(int)]
    assert 0.05 < inside.mean() < 1.0  # the tile shows more than the scene
    # GDAL approximates the transformation to an eighth of a pixel: beside an edge of two pixels it may take the other.
    far = (np.abs(column - column.round()) > 0.13) & (np.abs(row - row.round()) > 0.13)
    np.testing.assert_array_equal(found[0].ravel()[far], expected[far])


def test_a_tile_elsewhere_shows_nothing_and_a_small_one_is_decimated(tmp_path: Path):
    crs, transform = GRIDS["UTM"]
    path = write_geotiff(
        tmp_path / "map.tif", np.full((1, 3000, 3000), 7, dtype=np.uint8), crs=crs, transform=transform, nodata=255
    )
    grid = Grid(crs, transform, 3000, 3000)
    assert read_map_tile(str(path), grid, tile_grid(8, 0, 0), 255) is None
    tile = tile_grid(*tile_over(grid, 8))
    found = read_map_tile(str(path), grid, tile, 255)
    assert found is not None
    column, row = places(tile, grid)
    shown = (found == 7).ravel()
    # One pixel of the tile is 18 of the map: decimation moves its edge by less.
    assert shown[(column > 20) & (column < 2980) & (row > 20) & (row < 2980)].all()
    assert not shown[(column < -20) | (column > 3020) | (row < -20) | (row > 3020)].any()


def test_missing_pixels_stay_missing(tmp_path: Path):
    crs, transform = GRIDS["UTM"]
    values = np.full((1, 90, 120), 5, dtype=np.uint8)
    values[:, :, 60:] = 0
    path = write_geotiff(tmp_path / "scene.tif", values, crs=crs, transform=transform, nodata=0, descriptions=["red"])
    source = describe(bands_of_file(str(path), None))
    with SceneReader(source) as reader:
        tile = read_scene_tile(reader, ["red"], tile_grid(*tile_over(source.grid, 13)))
    assert tile is not None
    assert np.unique(tile[np.isfinite(tile)]).tolist() == [5.0]  # no mixture with the missing ones


def test_a_scene_in_degrees_is_shown_however_its_longitudes_are_counted(tmp_path: Path):
    values = np.arange(1, 100 * 100 + 1, dtype=np.uint16).reshape(1, 100, 100)
    shown = []
    for west in (-80.0, 280.0):
        transform = (0.01, 0.0, west, 0.0, -0.01, 1.0)
        path = write_geotiff(
            tmp_path / f"{west}.tif", values, crs="EPSG:4326", transform=transform, nodata=0, descriptions=["red"]
        )
        grid = Grid("EPSG:4326", transform, 100, 100)
        found = read_map_tile(str(path), grid, tile_grid(*tile_over(grid, 9)), 0)
        assert found is not None, west
        shown.append(found)
    assert (shown[0] > 0).any()
    np.testing.assert_array_equal(shown[1], shown[0])


def test_both_halves_of_a_scene_across_the_antimeridian_are_shown(tmp_path: Path):
    """From 170 to 190 degrees: 10 degrees in the last, 10 in the first column of tiles, of 180 degrees in 256 px."""
    transform = (0.1, 0.0, 170.0, 0.0, -0.1, 10.0)
    path = write_geotiff(
        tmp_path / "map.tif", np.full((1, 100, 200), 7, dtype=np.uint8), crs="EPSG:4326", transform=transform, nodata=0
    )
    grid = Grid("EPSG:4326", transform, 200, 100)
    for column, of_tile in ((0, slice(0, 14)), (1, slice(242, 256))):
        found = read_map_tile(str(path), grid, tile_grid(1, column, 0), 0)
        assert found is not None
        assert np.flatnonzero((found == 7).any(axis=0)).tolist() == list(range(of_tile.start, of_tile.stop))


@pytest.mark.parametrize(
    ("crs", "x", "y"), [("EPSG:32645", 4e5, 3.1e6), ("EPSG:32632", 4e5, 5.1e6), ("EPSG:32759", 4e5, 5.2e6)]
)
def test_a_scene_is_shown_however_far_the_map_is_zoomed_out(crs: str, x: float, y: float, tmp_path: Path):
    """Of each zoom one tile shows the scene, at its place; the others show nothing, and none is refused."""
    grid = Grid(crs, (300.0, 0.0, x, 0.0, -300.0, y), 600, 600)
    path = write_geotiff(
        tmp_path / "map.tif", np.full((1, 600, 600), 7, dtype=np.uint8), crs=crs, transform=grid.transform, nodata=0
    )
    for zoom in range(4):
        over = tile_over(grid, zoom)
        for column in range(2**zoom):
            for row in range(2**zoom):
                tile = tile_grid(zoom, column, row)
                found = read_map_tile(str(path), grid, tile, 0)
                shown = np.empty((0, 2)) if found is None else np.argwhere(found == 7)
                assert bool(len(shown)) == ((zoom, column, row) == over), (zoom, column, row)
                if len(shown):
                    at = shown.mean(axis=0) + 0.5
                    place = np.array([tile.affine @ (at[1], at[0])])
                    ((lon, lat),) = transform_points(place, WEB_MERCATOR, "EPSG:4326")
                    assert (lon, lat) == pytest.approx(grid.centre_wgs84(), abs=360 / 256 / 2**zoom)
