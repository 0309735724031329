"""Elevation and terrain of a scene from files on grids of their own, tiles, and models with gaps."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from imagery import elevation
from imagery.channels import TERRAIN_UNITS
from imagery.describe_scene import describe
from imagery.grid import Grid, Window, tile
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from tests.imagery.forge import write_geotiff
from tests.imagery.test_ground_metric import GRIDS

UTM = "EPSG:32645"
X, Y = 496000.0, 3102000.0
LAYERS = ("elevation", *TERRAIN_UNITS)

Rise = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def grid_of(side_m: float, pixels: int, *, x: float = X, y: float = Y, crs: str = UTM) -> Grid:
    return Grid(crs, (side_m, 0.0, x, 0.0, -side_m, y), pixels, pixels)


def write(path: Path, grid: Grid, rise: Rise, crs: str, *, gap: tuple[slice, slice] | None = None) -> BandSource:
    """Write heights at the centres of a grid: `rise` of x and y in another CRS."""
    col, row = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    a, b, c, d, e, f = grid.transform
    points = a * col + b * row + c, d * col + e * row + f
    heights = rise(*Transformer.from_crs(grid.crs, crs, always_xy=True).transform(*points)).astype(np.float32)
    if gap is not None:
        heights[gap] = -9999
    write_geotiff(path, heights, crs=grid.crs, transform=grid.transform, nodata=-9999)
    return BandSource("elevation", str(path), 1, unit="m")


def scene(folder: Path, grid: Grid, tiles: Sequence[BandSource]) -> SceneSource:
    ones = np.ones((grid.height, grid.width), dtype=np.uint8)
    red = write_geotiff(folder / "red.tif", ones, crs=grid.crs, transform=grid.transform)
    return describe([BandSource("red", str(red), 1)], dem=ElevationSource(tuple(tiles)))


def read(source: SceneSource, channels: Sequence[str], window: Window | None = None) -> NDArray[np.float32]:
    with SceneReader(source) as reader:
        stack: NDArray[np.float32] = reader.read(channels, window or source.grid.window)
    return stack


def hills(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(3000 + 200 * np.sin(x / 400) * np.cos(y / 300) + 0.1 * (x - X))


@pytest.mark.parametrize("name", [name for name in GRIDS if name != "at the pole"])
@pytest.mark.parametrize("side_m", [10.0, 90.0], ids=["finer scene", "coarser scene"])
def test_a_plane_keeps_all_its_measures_from_any_grid_to_a_turned_scene(
    tmp_path: Path, name: str, side_m: float
) -> None:
    whole = GRIDS[name]
    model = whole.subgrid(Window(110, 110, 80, 80))
    lon, lat = Transformer.from_crs(whole.crs, "EPSG:4326", always_xy=True).transform(*(whole.affine @ (150, 150)))
    local = CRS.from_dict({"proj": "tmerc", "lon_0": lon, "lat_0": lat, "ellps": "WGS84"}).to_wkt()
    turned = Affine.rotation(20) @ Affine.scale(side_m, -side_m) @ Affine.translation(-6, -6)
    a, b, c, d, e, f = turned[:6]
    dem = write(tmp_path / "dem.tif", model, lambda x, y: 3000 + 0.6 * x - 0.8 * y, local)
    source = scene(tmp_path, Grid(local, (a, b, c, d, e, f), 12, 12), [dem])
    # GDAL's mean over a turned pixel takes the rows and columns around it, and errs by some metres.
    height, slope, curved, rugged, sine, cosine = read(source, LAYERS)
    col, row = np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5)
    np.testing.assert_allclose(
        height, 3000 + 0.6 * (a * col + b * row + c) - 0.8 * (d * col + e * row + f), atol=0.1 if side_m < 30 else 4
    )
    np.testing.assert_allclose(slope, 45.0, atol=5e-3)
    np.testing.assert_allclose(sine, -0.6, atol=2e-3)
    np.testing.assert_allclose(cosine, 0.8, atol=2e-3)
    np.testing.assert_allclose(curved, 0, atol=3e-6)
    # On square pixels the index of a plane is the root of 6 times its rise over one pixel.
    if name == "utm":
        np.testing.assert_allclose(rugged, math.sqrt(6) * 30 * 0.9996, rtol=1e-3)


def test_slope_of_a_coarse_model_shows_no_facets(tmp_path: Path) -> None:
    # The slope of the bowl rises by 1 in 1000 m. Facets would be steps of 0.09 in the tangent: 5 degrees.
    dem = write(tmp_path / "dem.tif", grid_of(90, 30), lambda x, y: 3000 + (x - X) ** 2 / 2000, UTM)
    source = scene(tmp_path, grid_of(10, 80, x=X + 900, y=Y - 900), [dem])
    slope = read(source, ["slope"])[0]
    tangent = (900 + 10 * (np.arange(80) + 0.5)) / 1000
    np.testing.assert_allclose(slope, np.broadcast_to(np.degrees(np.arctan(tangent)), (80, 80)), atol=0.1)


def test_slopes_of_a_fine_model_are_averaged_not_computed_from_its_average(tmp_path: Path) -> None:
    # A saw of 45 degrees, 200 m long, is flat in the mean of a pixel of 200 m.
    saw = write(tmp_path / "dem.tif", grid_of(10, 120), lambda x, y: 3000 + np.abs((x - X) % 200 - 100), UTM)
    slope = read(scene(tmp_path, grid_of(200, 5, x=X + 100, y=Y - 100), [saw]), ["slope"])[0]
    assert (slope > 39).all()  # Horn's differences are 0 at the two edges, 2 of 20 pixels


def split(path: Path, model: Grid, rise: Rise, parts: Sequence[Window]) -> list[BandSource]:
    return [write(path / f"{number}.tif", model.subgrid(part), rise, UTM) for number, part in enumerate(parts)]


SEAMS = {
    "adjacent": [Window(0, 0, 40, 25), Window(0, 25, 40, 35), Window(40, 0, 20, 60)],
    "shared row and column, as SRTM's": [Window(0, 0, 41, 26), Window(0, 25, 41, 35), Window(40, 0, 20, 60)],
    "other order": [Window(40, 0, 20, 60), Window(0, 25, 40, 35), Window(0, 0, 40, 25)],
}


@pytest.mark.parametrize("parts", SEAMS.values(), ids=SEAMS)
@pytest.mark.parametrize("side_m", [10.0, 30.0, 100.0])
def test_tiles_are_read_as_if_they_were_one_file(tmp_path: Path, parts: Sequence[Window], side_m: float) -> None:
    model = grid_of(30, 60)
    target = grid_of(side_m, int(1500 // side_m), x=X + 150, y=Y - 150)
    one = scene(tmp_path, target, [write(tmp_path / "dem.tif", model, hills, UTM)])
    tiles = scene(tmp_path, target, split(tmp_path, model, hills, parts))
    np.testing.assert_array_equal(read(tiles, LAYERS), read(one, LAYERS))


def test_a_slope_across_a_seam_in_degrees_is_exact_though_headers_are_rounded(tmp_path: Path) -> None:
    step = 1 / 3600
    west = Grid("EPSG:4326", (step, 0.0, 86.95, 0.0, -step, 28.05), 50, 100)
    east = Grid("EPSG:4326", (step + 1e-9, 0.0, 86.95 + 50 * step + 2e-8, 0.0, -step, 28.05 + 1e-8), 50, 100)
    rise: Rise = lambda x, y: 3000 + 0.6 * (x - X) - 0.8 * (y - Y)  # noqa: E731
    tiles = [write(tmp_path / f"{grid.transform[2]}.tif", grid, rise, UTM) for grid in (west, east)]
    x, y = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(86.95 + 50 * step, 28.05 - 50 * step)
    source = scene(tmp_path, grid_of(30, 40, x=x - 600, y=y + 600), tiles)
    np.testing.assert_allclose(read(source, ["slope"]), 45, atol=0.03)  # the scale of UTM is 0.9996


@pytest.mark.parametrize("order", [1, -1])
def test_tiles_of_two_resolutions_meet_without_a_gap_or_a_cliff(tmp_path: Path, order: int) -> None:
    rise: Rise = lambda x, y: 3000 + 0.6 * (x - X) - 0.8 * (y - Y)  # noqa: E731
    fine = write(tmp_path / "fine.tif", grid_of(10, 90), rise, UTM)
    coarse = write(tmp_path / "coarse.tif", grid_of(45, 40, x=X + 900), rise, UTM)
    source = scene(tmp_path, grid_of(30, 20, x=X + 600, y=Y - 150), [fine, coarse][::order])
    np.testing.assert_allclose(read(source, ["slope"]), math.degrees(math.atan(0.9996)), atol=0.02)


@pytest.mark.parametrize("side_m", [10.0, 30.0])
def test_a_later_model_fills_the_voids_of_an_earlier_one(tmp_path: Path, side_m: float) -> None:
    hole = (slice(20, 30), slice(20, 30))
    holed = write(tmp_path / "holed.tif", grid_of(30, 60), lambda x, y: 3000 + 0 * x, UTM, gap=hole)
    same_grid = write(tmp_path / "same.tif", grid_of(30, 60), lambda x, y: 3100 + 0 * x, UTM)
    other = write(tmp_path / "other.tif", grid_of(90, 20), lambda x, y: 3200 + 0 * x, UTM)
    target = grid_of(side_m, int(1800 / side_m))
    middle = slice(int(660 / side_m), int(840 / side_m))
    for filler, height in ((same_grid, 3100), (other, 3200)):
        heights = read(scene(tmp_path, target, [holed, filler]), ["elevation"])[0]
        assert np.unique(heights[middle, middle]).tolist() == [height]
        assert np.unique(heights[: middle.start // 2]).tolist() == [3000]
    alone = read(scene(tmp_path, target, [holed]), ["elevation"])[0]
    assert np.isnan(alone[middle, middle]).all()
    np.testing.assert_allclose(np.isnan(alone).mean(), 100 / 3600, atol=1e-3)


def test_windows_agree_with_the_whole_scene_however_large_the_blocks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 1 / 3600
    degrees = Grid("EPSG:4326", (step, 0.0, 86.95, 0.0, -step, 28.05), 120, 120)
    tiles = [
        write(tmp_path / f"{part.row_off}-{part.col_off}.tif", degrees.subgrid(part), hills, UTM)
        for part in tile(120, 120, 60)
    ]
    x, y = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(86.951, 28.048)
    for side_m, pixels in ((7.0, 300), (55.0, 40)):
        source = scene(tmp_path, grid_of(side_m, pixels, x=x, y=y), tiles)
        with SceneReader(source) as reader:
            whole = reader.read(LAYERS, source.grid.window)
            assert not np.isnan(whole).any()
            for window in (Window(0, 0, 9, 9), Window(11, 3, 13, 20), Window(pixels - 1, pixels - 1, 1, 1)):
                part = reader.read(LAYERS, window)
                np.testing.assert_allclose(part, whole[:, *window.slices], rtol=1e-5, atol=1e-5)
            thin = reader.read_decimated(LAYERS, 8)
        rows = ((np.arange(8) + 0.5) * pixels / 8).astype(int)
        np.testing.assert_allclose(thin, whole[:, rows][:, :, rows], rtol=1e-5, atol=1e-5)
        monkeypatch.setattr(elevation, "_BLOCK_PX", 400)
        np.testing.assert_allclose(read(source, LAYERS), whole, rtol=1e-5, atol=1e-5)
        monkeypatch.undo()


def test_elevation_among_the_bands_gives_terrain_on_its_own_grid(tmp_path: Path) -> None:
    rise: Rise = lambda x, y: 3000 + (x - X) ** 2 / 2000  # noqa: E731
    dem = write(tmp_path / "dem.tif", grid_of(90, 30), rise, UTM)
    target = grid_of(10, 80, x=X + 900, y=Y - 900)
    as_dem = scene(tmp_path, target, [dem])
    as_band = describe([*as_dem.bands, dem])
    np.testing.assert_array_equal(read(as_band, LAYERS[1:]), read(as_dem, LAYERS[1:]))


@pytest.mark.parametrize(("right", "down"), [(20, 30), (-20, -30), (20, -30)])
def test_a_model_on_the_scenes_own_pixels_may_cover_a_part_of_it(tmp_path: Path, right: int, down: int) -> None:
    """The model is moved by whole pixels: what it covers has its heights, and the rest none."""
    model = grid_of(30, 80, x=X + 30 * right, y=Y - 30 * down)
    source = scene(tmp_path, grid_of(30, 80), [write(tmp_path / "dem.tif", model, hills, UTM)])
    heights, slopes = read(source, ["elevation", "slope"])
    rows, cols = np.arange(80), np.arange(80)
    covered = ((rows >= down) & (rows < 80 + down))[:, None] & ((cols >= right) & (cols < 80 + right))
    np.testing.assert_array_equal(np.isnan(heights), ~covered)
    col, row = np.meshgrid(cols + 0.5, rows + 0.5)
    np.testing.assert_allclose(heights[covered], hills(X + 30 * col, Y - 30 * row)[covered], atol=1e-3)
    assert not np.isnan(slopes[40, 40])


def test_an_impossible_elevation_is_missing_and_no_cliff(tmp_path: Path) -> None:
    heights = np.full((8, 8), 3000, dtype=np.int16)
    heights[2, 2], heights[5, 5] = -32768, 12501
    path = write_geotiff(tmp_path / "dem.tif", heights)
    height, slope = read(
        describe(
            [BandSource("red", str(path), 1)], dem=ElevationSource((BandSource("elevation", str(path), 1, unit="m"),))
        ),
        LAYERS,
    )[:2]
    assert np.argwhere(np.isnan(height)).tolist() == [[2, 2], [5, 5]]
    assert np.nanmax(slope) == 0


def test_a_scene_across_180_degrees_takes_tiles_on_both_sides(tmp_path: Path) -> None:
    step = 1 / 1200
    west = Grid("EPSG:4326", (step, 0.0, 180 - 100 * step, 0.0, -step, -16.95), 100, 120)
    east = Grid("EPSG:4326", (step, 0.0, -180.0, 0.0, -step, -16.95), 100, 120)
    local = CRS.from_dict({"proj": "tmerc", "lon_0": 180, "lat_0": -17, "ellps": "WGS84"}).to_wkt()
    rise: Rise = lambda x, y: 3000 + 0.6 * x - 0.8 * y  # noqa: E731
    tiles = [write(tmp_path / f"{name}.tif", grid, rise, local) for name, grid in (("west", west), ("east", east))]
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32701", always_xy=True).transform(180, -17)
    source = scene(tmp_path, grid_of(30, 40, x=x - 600, y=y + 600, crs="EPSG:32701"), tiles)
    _, slope, _, _, sine, cosine = read(source, LAYERS)
    np.testing.assert_allclose(slope, 45, atol=0.01)
    np.testing.assert_allclose([sine.mean(), cosine.mean()], [-0.6, 0.8], atol=2e-3)
