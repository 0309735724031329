"""Scenes of files on several grids: thermal, panchromatic and quality bands, elevation, border."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from imagery.border import BorderSource
from imagery.channels import CHANNEL_SETS, TERRAIN_UNITS
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError, UnreadableFileError
from imagery.grid import Grid, Window, tile
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, QualityBand, SceneSource
from imagery.sensors import sensor_bands
from imagery.units import METRE
from imagery.valid_pixels import check_has_data
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene, write_geotiff, write_polygons

X, Y = NORTH_UP[2], NORTH_UP[5]
# Metres on the map for one on the ground, 22 km from the central meridian of UTM: 0.9996 x (1 + (22 / 6371)^2 / 2).
SCALE = 0.999606


def pixels_of(side_m: float, *, x: float = X, y: float = Y) -> tuple[float, float, float, float, float, float]:
    return (side_m, 0.0, x, 0.0, -side_m, y)


def band(path: Path, name: str) -> BandSource:
    return BandSource(name, str(path), 1)


def model(path: Path, name: str = "elevation") -> ElevationSource:
    return ElevationSource((BandSource(name, str(path), 1, unit=METRE),))


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


@pytest.mark.parametrize("name", ["quality", "BQA", "qa_pixel", "qa_radsat", "scl"])
def test_flags_are_never_mixed_whatever_their_band_is_called(tmp_path: Path, red: BandSource, name: str) -> None:
    flags = np.random.default_rng(0).choice(np.array([672, 2720], dtype=np.uint16), (4, 4))
    quality = band(write_geotiff(tmp_path / "bqa.tif", flags, transform=pixels_of(60)), name)
    np.testing.assert_array_equal(read(describe([red, quality]), name), np.kron(flags, np.ones((2, 2))))


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
    source = describe([red], dem=model(dem))
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
    dem = model(write_geotiff(tmp_path / "dem.tif", bowl, transform=outset))
    slope = read(describe([red], dem=dem), "slope")
    np.testing.assert_allclose(slope, np.degrees(np.arctan(SCALE * np.hypot(col, row)[2:-2, 2:-2] / 30)), atol=1e-4)


def test_a_dem_on_the_scenes_grid_gives_slope_in_a_region_of_it(tmp_path: Path) -> None:
    plane = np.tile(np.arange(8, dtype=np.float32) * 30, (8, 1))
    stack = np.stack([np.ones((8, 8), dtype=np.float32), plane])
    path = str(write_geotiff(tmp_path / "a.tif", stack))
    source = describe([BandSource("red", path, 1), BandSource("elevation", path, 2)], region=Window(0, 3, 8, 5))
    assert source.channel_names == ("red", "elevation", *TERRAIN_UNITS)
    np.testing.assert_allclose(read(source, "slope"), math.degrees(math.atan(SCALE)), rtol=1e-6)


def test_a_thinned_slope_is_no_flatter_than_the_slope_itself(tmp_path: Path) -> None:
    saw = np.tile(np.abs(np.arange(80) % 8 - 4).astype(np.float32) * 30, (80, 1))
    path = str(write_geotiff(tmp_path / "a.tif", saw))
    source = describe([BandSource("elevation", path, 1)])
    with SceneReader(source) as reader:
        thin = reader.read_decimated(["slope"], 16)[0]
        whole = reader.read(["slope"], source.grid.window)[0]
    np.testing.assert_array_equal(thin, whole[2::5, 2::5])


def test_the_scenes_nodata_value_is_a_height_like_any_other(tmp_path: Path, red: BandSource) -> None:
    dem = model(write_geotiff(tmp_path / "dem.tif", np.zeros((8, 8), dtype=np.int16)))
    source = describe([red], nodata=0, dem=dem)
    assert not np.isnan(read(source, "elevation")).any()


def test_a_gap_in_the_dem_makes_no_ground_unknown(tmp_path: Path, red: BandSource) -> None:
    heights = np.full((8, 8), -32768, dtype=np.int16)
    heights[:, 4:] = 5000
    dem = model(write_geotiff(tmp_path / "dem.tif", heights, nodata=-32768))
    source = describe([red], dem=dem)
    with SceneReader(source) as reader:
        assert reader.valid_mask(source.grid.window).all()
        assert np.isnan(reader.read(["elevation", "slope"], source.grid.window)).mean() == 0.5


def test_every_channel_of_a_scene_in_degrees_can_be_read_slope_too(tmp_path: Path) -> None:
    # A degree of latitude at 28.1 north is 110.821 km long: the meridian's radius of curvature is 6 349 578 m there.
    step, metres = 3e-4, 3e-4 * 110821
    rising_south = np.tile(np.arange(8, dtype=np.float32)[:, None] * metres, (1, 8))
    stack, degrees = np.stack([np.ones((8, 8), dtype=np.float32), rising_south]), (step, 0.0, 86.8, 0.0, -step, 28.1)
    path = write_geotiff(tmp_path / "d.tif", stack, crs="EPSG:4326", transform=degrees)
    bands = (BandSource("red", str(path), 1), BandSource("elevation", str(path), 2))
    for source in (describe(bands), describe(bands[:1], dem=ElevationSource((replace(bands[1], unit=METRE),)))):
        assert source.channel_names == (*source.raster_names, *TERRAIN_UNITS)
        with SceneReader(source) as reader:
            slope = reader.read(source.channel_names, source.grid.window)[source.channel_names.index("slope")]
        np.testing.assert_allclose(slope, 45.0, atol=1e-3)


def test_a_second_elevation_is_refused(red: BandSource) -> None:
    with pytest.raises(SceneError, match="each only once"):
        describe([red, band(Path(red.path), "elevation")], dem=model(Path(red.path)))
    with pytest.raises(SceneError, match="expected the name 'elevation'"):
        describe([red], dem=model(Path(red.path), "height"))


def test_all_15_channels_of_baraka_come_from_ten_files_of_three_resolutions_and_a_dem(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bands = []
    for item in sensor_bands("landsat-7-etm+"):
        side = int(480 / item.resolution_m)
        pixels = rng.integers(1, 255, (side, side)).astype(np.uint8)
        path = write_geotiff(tmp_path / f"{item.field_name}.tif", pixels, transform=pixels_of(item.resolution_m))
        bands.append(band(path, item.name))
    heights = rng.uniform(3000, 6000, (10, 10)).astype(np.float32)
    dem = model(write_geotiff(tmp_path / "dem.tif", heights, transform=pixels_of(90, x=X - 90, y=Y + 90)))
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
    beside = write_polygons(tmp_path / "beside.gpkg", {"border": [shapely.box(X - 90, Y - 240, X, Y)]})
    with pytest.raises(OutlineError, match="found a border that misses the scene"):  # it touches the edge, no more
        describe([red], border=BorderSource(str(beside)))


def test_a_border_of_many_polygons_is_burnt_window_by_window_as_a_whole(tmp_path: Path) -> None:
    forged = forge_scene(tmp_path / "a.tif")
    rng = np.random.default_rng(0)
    # Discs of 2 to 8 pixels, on the scene and all around it; some overlap.
    centres, radii = rng.uniform([-50, -50], [210, 150], (80, 2)), rng.uniform(2, 8, 80)
    discs = [
        shapely.Point(X + 30 * col, Y - 30 * row).buffer(30 * radius)
        for (col, row), radius in zip(centres, radii, strict=True)
    ]
    path = write_polygons(tmp_path / "border.gpkg", {"border": discs})
    source = describe(forged.bands, border=BorderSource(str(path)))
    col, row = np.meshgrid(np.arange(160) + 0.5, np.arange(100) + 0.5)
    expected = shapely.contains_xy(shapely.union_all(discs), X + 30 * col, Y - 30 * row)
    found = np.zeros((100, 160), dtype=bool)
    with SceneReader(source) as reader:
        for window in tile(160, 100, 20):
            found[window.slices] = reader.valid_mask(window)
    np.testing.assert_array_equal(found, expected)
    assert 0.1 < expected.mean() < 0.9


def test_a_window_off_the_border_is_wholly_unknown(bordered: SceneSource) -> None:
    with SceneReader(bordered) as reader:
        assert not reader.valid_mask(Window(0, 0, 100, 40)).any()


def test_a_border_that_was_changed_on_the_scenes_ground_is_noticed(tmp_path: Path, red: BandSource) -> None:
    west, far = shapely.box(X, Y - 240, X + 120, Y), shapely.box(X + 9000, Y, X + 9900, Y + 900)
    path = write_polygons(tmp_path / "border.gpkg", {"border": [west, far]})
    source = describe([red], border=BorderSource(str(path)))

    def rewrite(*polygons: shapely.Polygon) -> None:
        path.unlink()
        write_polygons(path, {"border": polygons})

    rewrite(shapely.affinity.translate(far, 300), west)  # another order, and changed elsewhere: the same border here
    with SceneReader(source) as reader:
        assert reader.valid_mask(source.grid.window).mean() == 0.5
    rewrite(shapely.box(X, Y - 240, X + 150, Y), far)
    with pytest.raises(SceneError, match=r"border\.gpkg: found another border .*: put the old file back, or register"):
        SceneReader(source).__enter__()
    path.unlink()
    with pytest.raises(UnreadableFileError, match="found no readable file"):
        SceneReader(source).__enter__()


def test_a_scene_registered_before_borders_were_checked_is_read_as_it_is(tmp_path: Path, red: BandSource) -> None:
    path = write_polygons(tmp_path / "border.gpkg", {"border": [shapely.box(X, Y - 240, X + 120, Y)]})
    old = describe([red], border=BorderSource(str(path))).to_json()
    del old["border_sha256"]
    source = SceneSource.from_json(old)
    assert source.border_sha256 is None
    with SceneReader(source) as reader:
        assert reader.valid_mask(source.grid.window).mean() == 0.5


def test_a_resampled_file_that_was_replaced_by_another_grid_is_noticed(tmp_path: Path, red: BandSource) -> None:
    path = write_geotiff(tmp_path / "dem.tif", np.ones((4, 4)), transform=pixels_of(60))
    source = describe([red], dem=model(path))
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
    dem = model(write_geotiff(tmp_path / "dem.tif", col * 90, transform=pixels_of(90, x=X - 180, y=Y + 180)))
    np.testing.assert_allclose(read(describe([red], dem=dem), "slope"), math.degrees(math.atan(SCALE)), rtol=1e-4)


@pytest.mark.parametrize("turns", [0, 1, -1])
def test_longitudes_may_be_counted_from_0_to_360(tmp_path: Path, turns: int) -> None:
    """Each pixel of the model and of the quality band holds its column: 0.001 degrees from 73.8 degrees west on."""
    utm_18s = {"crs": "EPSG:32718", "transform": (30.0, 0.0, 600000.0, 0.0, -30.0, 4570000.0)}
    red = band(write_geotiff(tmp_path / "red.tif", np.ones((8, 8), np.uint8), **utm_18s), "red")
    degrees = {"crs": "EPSG:4326", "transform": (0.001, 0.0, -73.8 + 360 * turns, 0.0, -0.001, -48.8)}
    column = np.tile(np.arange(600, dtype=np.int16), (600, 1))
    path = write_geotiff(tmp_path / "dem.tif", column, **degrees)
    source = describe([red], dem=model(path), quality=[QualityBand("quality", str(path), 1)])
    lon, _ = source.grid.centre_wgs84(Window(3, 5, 1, 1))
    assert read(source, "elevation")[3, 5] == pytest.approx((lon + 73.8) / 0.001 - 0.5, abs=1e-3)
    assert read(source, "quality")[3, 5] == math.floor((lon + 73.8) / 0.001)


@pytest.mark.parametrize(("scene", "file"), [(286.5, -73.6), (-73.5, 286.4)])
def test_a_scene_in_degrees_may_count_them_otherwise(tmp_path: Path, scene: float, file: float) -> None:
    place = {"crs": "EPSG:4326", "transform": (0.001, 0.0, scene, 0.0, -0.001, -49.0)}
    red = band(write_geotiff(tmp_path / "red.tif", np.ones((8, 8), np.uint8), **place), "red")
    column = np.tile(np.arange(300, dtype=np.int16), (300, 1))
    place |= {"transform": (0.001, 0.0, file, 0.0, -0.001, -48.9)}
    source = describe([red], dem=model(write_geotiff(tmp_path / "dem.tif", column, **place)))
    np.testing.assert_allclose(read(source, "elevation")[0], 100 + np.arange(8), atol=1e-3)  # 0.1 degrees to the west
