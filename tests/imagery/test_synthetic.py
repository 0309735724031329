import math
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.sensors import sensor_bands
from imagery.synthetic import BANDS, SENSOR, SyntheticScene, write_scene
from imagery.synthetic_noise import fractal, smooth, white
from imagery.synthetic_pixels import (
    FILL,
    QUALITY_CLEAR,
    QUALITY_CLOUD,
    QUALITY_CLOUD_SHADOW,
    QUALITY_FILL,
    Landscape,
    SyntheticOptions,
)
from imagery.synthetic_radiometry import REFLECTIVE
from imagery.synthetic_surface import Shares, scan_gaps
from imagery.synthetic_terrain import HIGHEST_RIDGE_M, Sun, cast_shadow, elevation, terrain

HEIGHT, WIDTH = 301, 262


def test_noise_has_mean_0_and_standard_deviation_1() -> None:
    rows, cols = np.arange(500), np.arange(700)
    assert abs(white(3, "a", rows, cols).mean()) < 0.01
    assert white(3, "a", rows, cols).std() == pytest.approx(1, abs=0.01)
    spread = smooth(3, "a", rows * 3.7, cols * 3.7, 8)
    assert abs(spread.mean()) < 0.02
    assert spread.std() == pytest.approx(1, abs=0.02)
    assert fractal(3, "a", rows * 3.7, cols * 3.7, 32, 3).std() == pytest.approx(1, abs=0.05)


def test_noise_depends_on_place_alone() -> None:
    whole = fractal(7, "a", np.arange(-40.0, 60.0), np.arange(0.0, 90.0), 24, 3)
    part = fractal(7, "a", np.arange(13.0, 30.0), np.arange(55.0, 90.0), 24, 3)
    assert np.array_equal(whole[53:70, 55:90], part)


@pytest.mark.parametrize(("seed", "stream"), [(8, "a"), (7, "b")])
def test_seeds_and_streams_are_independent(seed: int, stream: str) -> None:
    rows, cols = np.arange(300), np.arange(300)
    correlation = np.corrcoef(white(7, "a", rows, cols).ravel(), white(seed, stream, rows, cols).ravel())
    assert abs(correlation[0, 1]) < 0.02


def test_smooth_noise_changes_little_between_neighbours() -> None:
    noise = smooth(1, "a", np.arange(200.0), np.arange(200.0), 40)
    assert np.abs(np.diff(noise, axis=0)).max() < 0.4


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(tmp_path: Path) -> None:
    first = _rasters(write_scene(tmp_path / "1", 128, 160, 5))
    again = _rasters(write_scene(tmp_path / "2", 128, 160, 5))
    other = _rasters(write_scene(tmp_path / "3", 128, 160, 6))
    assert first.keys() >= set(REFLECTIVE)
    for name in first:
        assert np.array_equal(first[name], again[name]), name
        assert not np.array_equal(first[name], other[name]), name


@pytest.mark.parametrize("shares", [Shares(), Shares(0, 0, 0)])
def test_the_size_of_a_block_changes_no_pixel(tmp_path: Path, shares: Shares) -> None:
    whole = _rasters(
        write_scene(tmp_path / "whole", 131, 165, 5, SyntheticOptions(shares, scan_gaps=True, block_px=1024))
    )
    pieces = _rasters(
        write_scene(tmp_path / "pieces", 131, 165, 5, SyntheticOptions(shares, scan_gaps=True, block_px=62))
    )
    assert whole.keys() >= set(REFLECTIVE)
    for name in whole:
        assert np.array_equal(whole[name], pieces[name]), name


def test_shares_are_those_of_aryal_by_default(scene: SyntheticScene) -> None:
    assert scene.shares[GLACIER_SCHEME.background.name] == pytest.approx(0.724, abs=0.001)
    assert scene.shares[CLEAN_ICE.name] == pytest.approx(0.218, abs=0.001)
    assert scene.shares[DEBRIS_COVERED_ICE.name] == pytest.approx(0.024, abs=0.001)
    assert scene.shares[GLACIER_SCHEME.unknown.name] == pytest.approx(0.034, abs=0.001)


def test_shares_are_those_asked_for_and_a_class_asked_away_has_no_layer(tmp_path: Path) -> None:
    options = SyntheticOptions(shares=Shares(clean_ice=0.4, debris_covered_ice=0.1, masked=0.0), lake_share=0.0)
    found = write_scene(tmp_path, 200, 150, 2, options)
    assert found.shares[CLEAN_ICE.name] == pytest.approx(0.4, abs=0.001)
    assert found.shares[DEBRIS_COVERED_ICE.name] == pytest.approx(0.1, abs=0.001)
    assert found.shares[GLACIER_SCHEME.unknown.name] == 0
    assert [layer.layer for layer in found.outlines] == ["clean_ice", "debris_covered_ice"]


def test_a_scene_without_ice_can_be_made(tmp_path: Path) -> None:
    found = write_scene(tmp_path, 128, 128, 2, SyntheticOptions(shares=Shares(0, 0, 0), lake_share=0))
    assert found.shares[GLACIER_SCHEME.background.name] == 1
    assert found.outlines == ()


def test_shares_of_a_scene_calibrated_from_a_sample_are_near(tmp_path: Path) -> None:
    # 1025 columns: the thresholds come from every second pixel.
    found = write_scene(tmp_path, 128, 1025, 4)
    assert found.shares[CLEAN_ICE.name] == pytest.approx(0.218, abs=0.005)
    assert found.shares[DEBRIS_COVERED_ICE.name] == pytest.approx(0.024, abs=0.003)


def test_the_bands_are_those_of_landsat_7() -> None:
    assert tuple(band.name for band in sensor_bands(SENSOR)) == BANDS


def test_all_15_channels_of_baraka_can_be_read_and_none_leaks_nan(scene: SyntheticScene) -> None:
    channels = (*BANDS, "ndvi", "ndsi", "ndwi", "elevation", "slope")
    source = describe(scene.bands, dem=scene.dem)
    with SceneReader(source) as reader:
        stack = reader.read(channels, source.grid.window)
    assert stack.shape == (15, HEIGHT, WIDTH)
    assert np.isfinite(stack).all()


def test_files_lie_where_they_say(scene: SyntheticScene) -> None:
    grids = {}
    for band in (*scene.bands, *scene.dem.tiles):
        with rasterio.open(band.path) as dataset:
            assert dataset.descriptions[band.index - 1] == band.name
            assert dataset.crs.to_epsg() == 32645
            grids[band.name] = (dataset.shape, dataset.transform[:6])
    assert grids["nir"] == grids["quality"] == ((HEIGHT, WIDTH), (30, 0, 480000, 0, -30, 3110400))
    assert grids["thermal_low"] == ((151, 131), (60, 0, 480000, 0, -60, 3110400))
    assert grids["elevation"] == ((HEIGHT + 4, WIDTH + 4), (30, 0, 479940, 0, -30, 3110460))


def test_the_outlines_burnt_back_are_the_truth(gapped: SyntheticScene) -> None:
    truth = _read(gapped.truth)
    grid = Grid("EPSG:32645", (30.0, 0.0, 480000.0, 0.0, -30.0, 3110400.0), truth.shape[1], truth.shape[0])
    assert np.array_equal(rasterize_outlines(gapped.outlines, grid, GLACIER_SCHEME), truth)
    assert [layer.layer for layer in gapped.outlines] == ["clean_ice", "debris_covered_ice", "masked"]


def test_writing_into_the_same_folder_replaces_the_scene(tmp_path: Path) -> None:
    write_scene(tmp_path, 128, 128, 1)
    again = write_scene(tmp_path, 128, 140, 2)
    grid = Grid("EPSG:32645", (30.0, 0.0, 480000.0, 0.0, -30.0, 3110400.0), 140, 128)
    assert np.array_equal(rasterize_outlines(again.outlines, grid, GLACIER_SCHEME), _read(again.truth))


def test_a_coarse_dem_samples_the_same_relief(tmp_path: Path) -> None:
    fine = _read(Path(write_scene(tmp_path / "fine", 128, 128, 1).dem.tiles[0].path))
    coarse = _read(
        Path(write_scene(tmp_path / "coarse", 128, 128, 1, SyntheticOptions(dem_resolution_m=90)).dem.tiles[0].path)
    )
    assert coarse.shape == (math.ceil(128 / 3) + 4, math.ceil(128 / 3) + 4)
    # The centre of the first 90 m pixel inside the scene is that of the 30 m pixel at row 1, column 1.
    assert np.array_equal(coarse[2:44, 2:44], fine[3:129:3, 3:129:3])


def test_debris_lies_on_gentle_valley_floors_below_the_snow_line(
    landscape: Landscape, truth: NDArray[np.uint8]
) -> None:
    ground = terrain(landscape.seed, np.arange(float(HEIGHT)), np.arange(float(WIDTH)))
    debris, clean, rest = (truth == value for value in (DEBRIS_COVERED_ICE.value, CLEAN_ICE.value, BACKGROUND))
    assert np.percentile(ground.slope_deg[debris], 90) < 12
    assert np.median(ground.slope_deg[debris]) < 0.5 * np.median(ground.slope_deg[rest])
    assert np.percentile(ground.valley[debris], 90) < 0.1
    assert np.median(ground.elevation_m[debris]) < np.median(ground.elevation_m[clean])


def test_ice_reaches_lower_on_northern_slopes(landscape: Landscape, truth: NDArray[np.uint8]) -> None:
    ground = terrain(landscape.seed, np.arange(float(HEIGHT)), np.arange(float(WIDTH)))
    clean = truth == CLEAN_ICE.value
    lowest = [
        np.percentile(ground.elevation_m[clean & side], 5) for side in (ground.northness > 0.2, ground.northness < -0.2)
    ]
    assert lowest[0] < lowest[1]


def test_rock_islands_are_holes_in_the_ice(scene: SyntheticScene) -> None:
    layer = scene.outlines[0]
    ice = shapely.from_wkb(pyogrio.raw.read(layer.path, layer=layer.layer)[2])
    assert shapely.get_num_interior_rings(ice).sum() > 0


def test_slope_and_aspect_are_those_of_the_relief() -> None:
    rows, cols = np.arange(60.0), np.arange(50.0)
    ground = terrain(1, rows, cols)
    down, right = np.gradient(elevation(1, rows, cols), 30.0)
    inner = (slice(1, -1), slice(1, -1))
    assert np.allclose(ground.slope_deg[inner], np.degrees(np.arctan(np.hypot(down, right)))[inner])
    # Ground that rises to the south (down the rows) faces north.
    assert np.array_equal(ground.northness[inner] > 0, down[inner] > 0)


def test_shadow_falls_where_the_line_to_the_sun_meets_ground() -> None:
    sun, size = Sun(azimuth_deg=180.0, elevation_deg=20.0), 200
    at = np.arange(size)
    shadow = cast_shadow(partial(elevation, 9), HIGHEST_RIDGE_M, at, at, sun)
    relief = elevation(9, at.astype(float), at.astype(float))
    rise_m = 30 * math.tan(math.radians(20))
    expected = np.zeros_like(shadow)
    for step in range(1, size):  # from due south: the ground below in the same column
        expected[:-step] |= relief[step:] - step * rise_m > relief[:-step] + 0.001
    reached = slice(0, size // 2)  # ground further south than the test looks may shade the rest
    assert 0.02 < expected[reached].mean() < 0.8
    assert not np.any(expected[reached] & ~shadow[reached])
    assert (expected[reached] == shadow[reached]).mean() > 0.97


def test_no_shadow_under_a_sun_overhead() -> None:
    at = np.arange(64)
    assert not cast_shadow(partial(elevation, 9), HIGHEST_RIDGE_M, at, at, Sun(180.0, 90.0)).any()


def test_shaded_ice_is_dark_and_blue(landscape: Landscape) -> None:
    pixels = landscape.pixels(Window(0, 0, 302, 262))
    clean = pixels.truth == CLEAN_ICE.value
    blue, nir = (pixels.reflective[REFLECTIVE.index(name)].astype(float) for name in ("blue", "nir"))
    dark = clean & pixels.shadow & (pixels.quality == QUALITY_CLEAR)
    light = clean & ~pixels.shadow & (pixels.quality == QUALITY_CLEAR)
    assert dark.sum() > 20
    assert blue[dark].mean() < 0.7 * blue[light].mean()
    assert (blue[dark] / nir[dark]).mean() > (blue[light] / nir[light]).mean()


def test_debris_looks_like_rock_but_is_cooler(scene: SyntheticScene) -> None:
    rasters, truth = _rasters(scene), _read(scene.truth)
    rock = (truth == BACKGROUND) & (rasters["swir1"] > 50)
    debris = truth == DEBRIS_COVERED_ICE.value
    for name in ("blue", "red", "nir"):
        spread = rasters[name][rock].std()
        assert abs(rasters[name][debris].mean() - rasters[name][rock].mean()) < 2 * spread
    warmth = np.kron(rasters["thermal_high"], np.ones((2, 2)))[:HEIGHT, :WIDTH]
    assert warmth[debris].mean() < warmth[rock].mean()


def test_cloud_is_masked_and_throws_its_shadow(landscape: Landscape) -> None:
    pixels = landscape.pixels(Window(0, 0, 302, 262))
    cloud = pixels.quality == QUALITY_CLOUD
    assert np.array_equal(cloud, pixels.truth == UNKNOWN)
    swir1, red = pixels.reflective[REFLECTIVE.index("swir1")], pixels.reflective[REFLECTIVE.index("red")]
    assert swir1[cloud].mean() > 2 * swir1[pixels.truth == CLEAN_ICE.value].mean()
    rock = pixels.truth == BACKGROUND
    shaded, lit = rock & (pixels.quality == QUALITY_CLOUD_SHADOW), rock & (pixels.quality == QUALITY_CLEAR)
    assert red[shaded].mean() < red[lit].mean()


def test_scan_gaps_are_nodata_in_every_band_and_masked_in_the_truth(gapped: SyntheticScene) -> None:
    truth = _read(gapped.truth)
    gaps = scan_gaps(np.arange(truth.shape[0]), np.arange(truth.shape[1]), truth.shape[1])
    rasters = _rasters(gapped)
    for name in REFLECTIVE:
        assert np.array_equal(rasters[name] == FILL, gaps)
    assert np.array_equal(rasters["quality"] == QUALITY_FILL, gaps)
    assert (truth[gaps] == UNKNOWN).all()
    # A thermal pixel is lost where all four pixels of 30 m are.
    assert np.array_equal(rasters["thermal_low"] == FILL, gaps.reshape(75, 2, 100, 2).all(axis=(1, 3)))


def test_scan_gaps_are_wedges_that_take_about_a_fifth_of_a_scene() -> None:
    gaps = scan_gaps(np.arange(3300), np.arange(1000), 1000)
    assert gaps.mean() == pytest.approx(0.22, abs=0.01)
    by_column = gaps.mean(axis=0)
    assert by_column[495:505].max() <= 1 / 33
    assert by_column[0] == pytest.approx(14.5 / 33, abs=0.02)
    assert by_column[-1] == pytest.approx(14.5 / 33, abs=0.02)


def test_every_recorded_pixel_has_a_number(scene: SyntheticScene) -> None:
    rasters = _rasters(scene)
    assert all((rasters[name] > FILL).all() for name in (*REFLECTIVE, "thermal_low", "thermal_high"))
    assert np.isfinite(rasters["elevation"]).all()
    assert rasters["elevation"].min() > 2000
    assert rasters["elevation"].max() < 9000


@pytest.mark.parametrize(
    ("height", "width", "seed", "found"),
    [
        (127, 200, 0, "127 x 200 px"),
        (200, 100, 0, "200 x 100 px"),
        (128, 128, -1, "seed -1"),
        (128, 128, 1 << 32, "seed"),
    ],
)
def test_a_scene_that_cannot_be_made_is_refused(tmp_path: Path, height: int, width: int, seed: int, found: str) -> None:
    with pytest.raises(SceneError, match=f"found .*{found}.*expected"):
        write_scene(tmp_path, height, width, seed)


@pytest.mark.parametrize(
    "options",
    [
        {"shares": Shares(0.6, 0.3, 0.1)},
        {"shares": Shares(-0.1, 0.3, 0.1)},
        {"sun": Sun(150.0, 10.0)},
        {"block_px": 63},
        {"dem_resolution_m": 0.0},
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(SceneError, match="expected"):
        SyntheticOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("angles", [(float("nan"), 45.0), (150.0, float("nan")), (float("inf"), 45.0)])
def test_a_sun_without_a_place_is_refused(angles: tuple[float, float]) -> None:
    with pytest.raises(SceneError, match=r"found Sun\(.*expected finite angles"):
        Sun(*angles)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return write_scene(tmp_path_factory.mktemp("synthetic"), HEIGHT, WIDTH, 1)


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return write_scene(tmp_path_factory.mktemp("gapped"), 150, 200, 3, SyntheticOptions(scan_gaps=True))


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return Landscape(HEIGHT, WIDTH, 1, SyntheticOptions())


@pytest.fixture(scope="module")
def truth(scene: SyntheticScene) -> NDArray[np.uint8]:
    return _read(scene.truth)


def _read(path: Path, index: int = 1) -> NDArray[np.generic]:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(index))


def _rasters(scene: SyntheticScene) -> dict[str, NDArray[np.generic]]:
    return {band.name: _read(Path(band.path), band.index) for band in (*scene.bands, *scene.dem.tiles)}
