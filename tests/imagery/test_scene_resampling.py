"""Scenes of files on several grids: thermal, panchromatic and quality bands, elevation, border."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from imagery.border import BorderSource
from imagery.channels import CHANNEL_SETS
from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid, Window
from imagery.scene import BandSource, SceneReader, SceneSource, check_has_data, describe
from imagery.sensors import sensor_bands
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene, write_geotiff, write_polygons

X, Y = NORTH_UP[2], NORTH_UP[5]


def pixels_of(side_m: float, *, x: float = X, y: float = Y) -> tuple[float, float, float, float, float, float]:
    return (side_m, 0.0, x, 0.0, -side_m, y)


def band(path: Path, name: str) -> BandSource:
    return BandSource(name, str(path), 1)


@pytest.fixture
def red(tmp_path: Path) -> BandSource:
    """8 x 8 pixels of 30 m."""
    return band(write_geotiff(tmp_path / "red.tif", np.ones((8, 8), dtype=np.uint8)), "red")


def read(source: SceneSource, channel: str, window: Window | None = None) -> NDArray[np.float32]:
    with SceneReader(source) as reader:
        pixels: NDArray[np.float32] = reader.read([channel], window or source.grid.window)[0]
    return pixels


def test_a_60_m_thermal_band_is_interpolated_bilinearly_onto_30_m(tmp_path: Path, red: BandSource) -> None:
    ramp = np.tile(np.arange(4, dtype=np.float32) * 60 + 30, (4, 1))  # each pixel holds the x of its centre
    thermal = band(write_geotiff(tmp_path / "b6.tif", ramp, transform=pixels_of(60)), "thermal_low")
    values = read(describe([red, thermal]), "thermal_low")
    # Inside, the centres of 30 m pixels; in the outer half pixel there is nothing to interpolate to.
    expected = np.clip(np.arange(8) * 30 + 15, 30, 210)
    np.testing.assert_allclose(values, np.tile(expected, (8, 1)), rtol=1e-6)


def test_a_15_m_panchromatic_band_is_averaged_to_30_m(tmp_path: Path, red: BandSource) -> None:
    fine = np.random.default_rng(0).integers(1, 255, (16, 16)).astype(np.uint8)
    pan = band(write_geotiff(tmp_path / "b8.tif", fine, transform=pixels_of(15)), "pan")
    expected = fine.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(read(describe([red, pan]), "pan"), expected, rtol=1e-6)


def test_quality_flags_are_never_mixed(tmp_path: Path, red: BandSource) -> None:
    flags = np.random.default_rng(0).choice(np.array([672, 2720], dtype=np.uint16), (4, 4))
    quality = band(write_geotiff(tmp_path / "bqa.tif", flags, transform=pixels_of(60)), "quality")
    np.testing.assert_array_equal(read(describe([red, quality]), "quality"), np.kron(flags, np.ones((2, 2))))


def test_nodata_neither_bleeds_into_valid_pixels_nor_is_filled_by_them(tmp_path: Path, red: BandSource) -> None:
    coarse = np.full((4, 4), 100, dtype=np.int16)
    coarse[1, 2] = -9999
    thermal = band(write_geotiff(tmp_path / "b6.tif", coarse, transform=pixels_of(60), nodata=-9999), "thermal_low")
    values = read(describe([red, thermal]), "thermal_low")
    hole = np.zeros((8, 8), dtype=bool)
    hole[2:4, 4:6] = True
    np.testing.assert_array_equal(np.isnan(values), hole)
    np.testing.assert_allclose(values[~hole], 100)


def test_ground_beyond_a_band_is_nodata_and_a_band_that_misses_the_scene_is_refused(
    tmp_path: Path, red: BandSource
) -> None:
    half = band(write_geotiff(tmp_path / "half.tif", np.ones((4, 2)), transform=pixels_of(60)), "thermal_low")
    invalid = np.isnan(read(describe([red, half]), "thermal_low"))
    assert not invalid[:, :4].any()
    assert invalid[:, 4:].all()
    far = band(write_geotiff(tmp_path / "far.tif", np.ones((4, 4)), transform=pixels_of(60, x=X + 240)), "thermal_low")
    with pytest.raises(SceneError, match=r"far\.tif: found a file that misses the scene's ground"):
        describe([red, far])


def test_the_first_band_decides_the_grid(tmp_path: Path, red: BandSource) -> None:
    thermal = band(write_geotiff(tmp_path / "b6.tif", np.ones((4, 4)), transform=pixels_of(60)), "thermal_low")
    assert describe([red, thermal]).grid.transform[0] == 30.0
    coarse = describe([thermal, red], region=Window(1, 1, 2, 2))
    assert coarse.grid == Grid(UTM_45N, pixels_of(60, x=X + 60, y=Y - 60), 2, 2)
    assert read(coarse, "red").tolist() == [[1, 1], [1, 1]]


def test_windows_of_a_band_in_another_crs_agree_with_the_whole(tmp_path: Path) -> None:
    red = band(write_geotiff(tmp_path / "red.tif", np.ones((300, 300), dtype=np.uint8)), "red")
    heights = np.random.default_rng(0).uniform(3000, 6000, (200, 200)).astype(np.float32)
    left, top = Grid(UTM_45N, NORTH_UP, 300, 300).footprint_wgs84().bounds[0], 28.105
    dem = write_geotiff(tmp_path / "dem.tif", heights, crs="EPSG:4326", transform=(8e-4, 0, left - 0.01, 0, -8e-4, top))
    source = describe([red], dem=band(dem, "elevation"))
    with SceneReader(source) as reader:
        whole = reader.read(["elevation", "slope"], source.grid.window)
        for window in (Window(0, 0, 40, 40), Window(101, 203, 50, 60), Window(299, 299, 1, 1)):
            part = reader.read(["elevation", "slope"], window)
            np.testing.assert_allclose(part, whole[:, *window.slices], rtol=1e-5, atol=1e-4)
    assert not np.isnan(whole).any()


def test_slope_uses_elevation_beyond_the_scene_where_the_dem_has_it(tmp_path: Path, red: BandSource) -> None:
    col, row = np.meshgrid(np.arange(12) - 2, np.arange(12) - 2)
    bowl = (0.5 * (col * col + row * row)).astype(np.float32)
    outset = pixels_of(30, x=X - 60, y=Y + 60)
    dem = band(write_geotiff(tmp_path / "dem.tif", bowl, transform=outset), "elevation")
    slope = read(describe([red], dem=dem), "slope")
    np.testing.assert_allclose(slope, np.degrees(np.arctan(np.hypot(col, row)[2:-2, 2:-2] / 30)), atol=1e-4)


def test_a_dem_on_the_scenes_grid_gives_slope_in_a_region_of_it(tmp_path: Path) -> None:
    plane = np.tile(np.arange(8, dtype=np.float32) * 30, (8, 1))
    stack = np.stack([np.ones((8, 8), dtype=np.float32), plane])
    path = str(write_geotiff(tmp_path / "a.tif", stack))
    source = describe([BandSource("red", path, 1), BandSource("elevation", path, 2)], region=Window(0, 3, 8, 5))
    assert source.channel_names == ("red", "elevation", "slope")
    np.testing.assert_allclose(read(source, "slope"), 45.0, rtol=1e-6)


def test_a_thinned_slope_is_no_flatter_than_the_slope_itself(tmp_path: Path) -> None:
    saw = np.tile(np.abs(np.arange(80) % 8 - 4).astype(np.float32) * 30, (80, 1))
    path = str(write_geotiff(tmp_path / "a.tif", saw))
    source = describe([BandSource("elevation", path, 1)])
    with SceneReader(source) as reader:
        thin = reader.read_decimated(["slope"], 16)[0]
        whole = reader.read(["slope"], source.grid.window)[0]
    np.testing.assert_array_equal(thin, whole[2::5, 2::5])


def test_the_scenes_nodata_value_is_a_height_like_any_other(tmp_path: Path, red: BandSource) -> None:
    dem = band(write_geotiff(tmp_path / "dem.tif", np.zeros((8, 8), dtype=np.int16)), "elevation")
    source = describe([red], nodata=0, dem=dem)
    assert not np.isnan(read(source, "elevation")).any()


def test_a_gap_in_the_dem_makes_no_ground_unknown(tmp_path: Path, red: BandSource) -> None:
    heights = np.full((8, 8), -32768, dtype=np.int16)
    heights[:, 4:] = 5000
    dem = band(write_geotiff(tmp_path / "dem.tif", heights, nodata=-32768), "elevation")
    source = describe([red], dem=dem)
    with SceneReader(source) as reader:
        assert reader.valid_mask(source.grid.window).all()
        assert np.isnan(reader.read(["elevation", "slope"], source.grid.window)).mean() == 0.5


def test_elevation_on_a_grid_in_degrees_and_a_second_elevation_are_refused(tmp_path: Path, red: BandSource) -> None:
    degrees = (3e-4, 0.0, 86.8, 0.0, -3e-4, 28.1)
    path = write_geotiff(tmp_path / "d.tif", np.ones((8, 8)), crs="EPSG:4326", transform=degrees)
    with pytest.raises(SceneError, match="not projected"):
        describe([band(path, "red")], dem=band(path, "elevation"))
    with pytest.raises(SceneError, match="each only once"):
        describe([red, band(Path(red.path), "elevation")], dem=band(Path(red.path), "elevation"))
    with pytest.raises(SceneError, match="expected the name 'elevation'"):
        describe([red], dem=band(Path(red.path), "height"))


def test_all_15_channels_of_baraka_come_from_ten_files_of_three_resolutions_and_a_dem(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bands = []
    for item in sensor_bands("landsat-7-etm+"):
        side = int(480 / item.resolution_m)
        pixels = rng.integers(1, 255, (side, side)).astype(np.uint8)
        path = write_geotiff(tmp_path / f"{item.field_name}.tif", pixels, transform=pixels_of(item.resolution_m))
        bands.append(band(path, item.name))
    heights = rng.uniform(3000, 6000, (10, 10)).astype(np.float32)
    dem = band(write_geotiff(tmp_path / "dem.tif", heights, transform=pixels_of(90, x=X - 90, y=Y + 90)), "elevation")
    source = describe(bands, dem=dem)
    with SceneReader(source) as reader:
        stack = reader.read(CHANNEL_SETS["baraka"], source.grid.window)
    assert stack.shape == (15, 16, 16)
    assert np.isfinite(stack).all()


@pytest.fixture
def bordered(tmp_path: Path) -> SceneSource:
    """A scene of 100 x 160 pixels of which columns 40 to 120 are inside the border, but for a hole."""
    forged = forge_scene(tmp_path / "a.tif")
    hole = shapely.box(X + 30 * 60, Y - 30 * 50, X + 30 * 70, Y - 30 * 40)
    inside = shapely.box(X + 30 * 40, Y - 30 * 200, X + 30 * 120, Y + 30 * 100).difference(hole)
    path = write_polygons(tmp_path / "border.gpkg", {"border": [inside]})
    return describe(forged.bands, border=BorderSource(str(path), "border"))


def test_ground_outside_the_border_is_unknown_in_every_channel_never_background(bordered: SceneSource) -> None:
    inside = np.zeros((100, 160), dtype=bool)
    inside[:, 40:120] = True
    inside[40:50, 60:70] = False
    with SceneReader(bordered) as reader:
        stack = reader.read(bordered.channel_names, bordered.grid.window)
        np.testing.assert_array_equal(np.isnan(stack), np.broadcast_to(~inside, stack.shape))
        np.testing.assert_array_equal(reader.valid_mask(bordered.grid.window), inside)
        window = Window(35, 33, 30, 40)
        np.testing.assert_array_equal(reader.valid_mask(window), inside[window.slices])
        thin = reader.read_decimated(["red"], 16)[0]
    assert np.isnan(thin[0]).tolist() == [True] * 4 + [False] * 8 + [True] * 4


def test_a_border_that_misses_the_scene_is_refused(tmp_path: Path, red: BandSource) -> None:
    around = shapely.box(X - 900, Y - 900, X + 900, Y + 900).difference(shapely.box(X - 99, Y - 999, X + 999, Y + 99))
    path = write_polygons(tmp_path / "border.gpkg", {"border": [around]})
    with pytest.raises(OutlineError, match="found a border that misses the scene"):
        describe([red], border=BorderSource(str(path)))


def test_a_source_with_dem_border_and_resampled_files_survives_json(tmp_path: Path, red: BandSource) -> None:
    dem = band(write_geotiff(tmp_path / "dem.tif", np.ones((4, 4)), transform=pixels_of(60)), "elevation")
    border = write_polygons(tmp_path / "border.geojson", {"border": [shapely.box(X, Y - 90, X + 90, Y)]})
    source = describe([red], dem=dem, border=BorderSource(str(border)))
    assert [item.path for item in source.resampled] == [dem.path]
    assert SceneSource.from_json(json.loads(json.dumps(source.to_json()))) == source
    with pytest.raises(SceneError, match="in a border"):
        SceneSource.from_json({**source.to_json(), "border": {"path": "a.gpkg"}})


def test_a_resampled_file_that_was_replaced_by_another_grid_is_noticed(tmp_path: Path, red: BandSource) -> None:
    path = write_geotiff(tmp_path / "dem.tif", np.ones((4, 4)), transform=pixels_of(60))
    source = describe([red], dem=band(path, "elevation"))
    write_geotiff(path, np.ones((3, 3)), transform=pixels_of(90))
    with pytest.raises(SceneError, match="register it as a new scene"), SceneReader(source):
        pass


def test_a_thermal_band_without_any_pixel_in_the_scene_leaves_no_valid_pixel(tmp_path: Path, red: BandSource) -> None:
    empty = np.full((4, 4), -1, dtype=np.int16)
    thermal = band(write_geotiff(tmp_path / "b6.tif", empty, transform=pixels_of(60), nodata=-1), "thermal_low")
    with pytest.raises(SceneError, match="found no pixel"):
        check_has_data(describe([red, thermal]))


def test_a_plane_in_a_coarse_dem_keeps_its_slope_when_resampled(tmp_path: Path, red: BandSource) -> None:
    col = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    dem = band(
        write_geotiff(tmp_path / "dem.tif", col * 90, transform=pixels_of(90, x=X - 180, y=Y + 180)), "elevation"
    )
    np.testing.assert_allclose(read(describe([red], dem=dem), "slope"), math.degrees(math.atan(1.0)), rtol=1e-4)
