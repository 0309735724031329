from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.errors import SceneError
from imagery.grid import Window, tile
from imagery.scene import bands_of_file, describe
from imagery.statistics import channel_statistics, percentile_stretch
from tests.imagery.forge import ForgedScene, forge_scene, write_geotiff


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
    with pytest.raises(SceneError, match="no valid pixel of red in the windows"):
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
