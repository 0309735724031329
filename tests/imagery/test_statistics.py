from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from imagery import statistics
from imagery.band_names import bands_of_file
from imagery.border import BorderSource
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window, tile
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics, percentile_stretch
from tests.imagery.forge import NORTH_UP, ForgedScene, forge_scene, write_geotiff, write_polygons


def _nir_red(scene: ForgedScene) -> np.ndarray:
    with rasterio.open(scene.path) as dataset:
        return dataset.read([4, 1]).astype(np.float64)


def test_statistics_pool_all_valid_pixels_of_all_scenes_and_leave_nodata_out(tmp_path: Path) -> None:
    first = forge_scene(tmp_path / "a.tif", seed=1, nodata_columns=30)
    second = forge_scene(tmp_path / "b.tif", seed=2)
    sources = [(describe(scene.bands), tile(160, 100, 20)) for scene in (first, second)]
    found = channel_statistics(sources, ["nir", "red"])
    pooled = np.concatenate([_nir_red(first)[:, :, :-30].reshape(2, -1), _nir_red(second).reshape(2, -1)], axis=1)
    assert found.channels == ("nir", "red")
    assert found.count == (130 * 100 + 160 * 100,) * 2
    np.testing.assert_allclose(found.mean, pooled.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, pooled.std(axis=1), rtol=1e-12)


def test_the_spread_between_windows_counts_which_averaging_tile_deviations_would_forget(tmp_path: Path) -> None:
    # Each window is constant: every tile's own deviation is 0, the pooled one is 50.
    halves = np.repeat(np.array([[0.0, 100.0]], dtype=np.float32), 10, axis=1)[None].repeat(10, axis=1)
    source = describe(bands_of_file(str(write_geotiff(tmp_path / "a.tif", halves, descriptions=["red"])), None))
    found = channel_statistics([(source, [Window(0, 0, 10, 10), Window(0, 10, 10, 10)])], ["red"])
    assert (found.mean, found.std, found.count) == ((50.0,), (50.0,), (200,))


def test_a_constant_channel_gets_deviation_one(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.full((1, 4, 4), 0.1, dtype=np.float32), descriptions=["red"])
    source = describe(bands_of_file(str(path), None))
    found = channel_statistics([(source, tile(4, 4, 2))], ["red"])
    assert found.std == (1.0,)
    assert found.mean == pytest.approx((0.1,))


def test_a_channel_without_a_valid_pixel_is_an_error(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.zeros((1, 4, 4), dtype=np.uint8), nodata=0, descriptions=["red"])
    source = describe(bands_of_file(str(path), None))
    with pytest.raises(SceneError, match="no valid pixel of 'red' in the windows"):
        channel_statistics([(source, [source.grid.window])], ["red"])
    with pytest.raises(SceneError, match="no valid pixel of 'red' in the scene"):
        percentile_stretch(source, ["red"])


def test_a_stretch_spans_the_percentiles_of_valid_pixels(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1, 101, dtype=np.uint8), (5, 1))
    stack = np.stack([ramp, np.full_like(ramp, 7)])
    stack = np.concatenate([np.zeros((2, 5, 50), dtype=np.uint8), stack], axis=2)
    path = write_geotiff(tmp_path / "a.tif", stack, nodata=0, descriptions=["red", "nir"])
    (low, high), constant = percentile_stretch(describe(bands_of_file(str(path), None)), ["red", "nir"])
    assert low == pytest.approx(2.98, abs=0.1)
    assert high == pytest.approx(98.02, abs=0.1)
    assert constant == (7.0, 8.0)


SIDE = 1100
# Decimated to 512 pixels a side, more than half of all rows and columns are left out; this is one of them.
UNSAMPLED = int(np.setdiff1d(np.arange(500, SIDE), (np.arange(512) + 0.5) * SIDE // 512)[0])


def _sparse(tmp_path: Path, valid: np.ndarray) -> SceneSource:
    """A scene whose valid pixels hold 101, 102, ... 60100, 101, ... in row order."""
    pixels = np.zeros((SIDE, SIDE), dtype=np.uint16)
    pixels[valid] = 101 + np.arange(valid.sum()) % 60000
    path = write_geotiff(tmp_path / "a.tif", pixels[None], nodata=0, descriptions=["red"], compress="deflate")
    return describe(bands_of_file(str(path), None))


def test_a_single_valid_pixel_that_the_decimated_sample_misses_is_found(tmp_path: Path) -> None:
    valid = np.zeros((SIDE, SIDE), dtype=bool)
    valid[UNSAMPLED, UNSAMPLED] = True
    source = _sparse(tmp_path, valid)
    with SceneReader(source) as reader:
        assert np.isnan(reader.read_decimated(["red"], 512)).all()
    assert percentile_stretch(source, ["red"]) == [(101.0, 102.0)]


def test_scattered_valid_pixels_give_the_exact_percentiles_of_them_all(tmp_path: Path) -> None:
    valid = np.zeros((SIDE, SIDE), dtype=bool)
    valid.flat[np.random.default_rng(0).choice(SIDE * SIDE, 101, replace=False)] = True
    # The values 101 to 201: every percentile is a whole number.
    assert percentile_stretch(_sparse(tmp_path, valid), ["red"]) == [(103.0, 199.0)]


def test_valid_pixels_in_the_last_corner_only_are_found(tmp_path: Path) -> None:
    valid = np.zeros((SIDE, SIDE), dtype=bool)
    valid[-1, -2:] = True
    assert percentile_stretch(_sparse(tmp_path, valid), ["red"], 0, 100) == [(101.0, 102.0)]


def test_a_border_thinner_than_the_step_of_the_sample_leaves_its_pixels(tmp_path: Path) -> None:
    everywhere = _sparse(tmp_path, np.ones((SIDE, SIDE), dtype=bool))
    left, top = NORTH_UP[2], NORTH_UP[5] - 30 * UNSAMPLED
    strip = shapely.box(left, top - 30, left + 30 * 101, top)  # one row, 101 columns
    border = write_polygons(tmp_path / "border.gpkg", {"border": [strip]})
    source = describe(everywhere.bands, border=BorderSource(str(border)))
    with SceneReader(source) as reader:
        assert np.isnan(reader.read_decimated(["red"], 512)).all()
        values = reader.read(["red"], Window(UNSAMPLED, 0, 1, 101))
    assert percentile_stretch(source, ["red"], 0, 100) == [(values.min(), values.max())]


def test_a_channel_with_gaps_is_read_fully_while_the_others_keep_their_sample(tmp_path: Path) -> None:
    red = np.tile(np.arange(SIDE, dtype=np.float32) + 1, (SIDE, 1))
    nir = np.full_like(red, np.nan)
    nir[-1, -1] = 7
    path = write_geotiff(tmp_path / "a.tif", np.stack([red, nir]), descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None))
    alone = percentile_stretch(source, ["red"])
    assert percentile_stretch(source, ["red", "nir"]) == [*alone, (7.0, 8.0)]


def test_a_channel_without_any_valid_pixel_is_named_beside_those_that_have_some(tmp_path: Path) -> None:
    stack = np.zeros((2, 4, 4), dtype=np.uint8)
    stack[0, :, 0] = 9
    path = write_geotiff(tmp_path / "a.tif", stack, nodata=0, descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None))
    with pytest.raises(SceneError, match=r"found no valid pixel of 'nir' in the scene, but 4 of 'red'; expected some"):
        percentile_stretch(source, ["red", "nir"])
    with pytest.raises(SceneError, match=r"no valid pixel of 'nir' in the windows given, but 4 of 'red'"):
        channel_statistics([(source, tile(4, 4, 2))], ["red", "nir"])


def test_many_valid_pixels_are_sampled_evenly_in_bounded_memory() -> None:
    sample, most = statistics._ValidSample(), statistics._ValidSample._MOST
    for start in range(0, 3 * most, 1000):
        values = np.arange(start, start + 1000, dtype=np.float32)
        sample.add(np.stack([values, np.full_like(values, np.nan)], axis=1))
        assert sample.values.size <= most
    # Of 3 x 2^18 values every fourth is kept.
    np.testing.assert_array_equal(sample.values, np.arange(0, start + 1000, 4, dtype=np.float32))
