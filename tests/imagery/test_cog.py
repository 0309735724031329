from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.classes import DEBRIS_COVERED_ICE, GLACIER_SCHEME
from imagery.cog import class_map_to_cog, float_map_writer
from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid
from tests.imagery.forge import UTM_45N

GRID = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=1100, height=700)


def _class_map() -> np.ndarray:
    mask = np.zeros((700, 1100), dtype=np.uint8)
    mask[100:400, 200:900] = 1
    mask[300:600, 500:700] = 2
    mask[:, -64:] = 255
    mask[1::2, :100:2] = 1  # a quarter of these pixels: no overview may show it
    return mask


def test_a_class_map_is_a_valid_cog_with_legend_nodata_and_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(class_map_to_cog(_class_map(), GRID, GLACIER_SCHEME))
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.overviews(1) == [2, 4]
        assert dataset.nodata == 255
        assert dataset.colormap(1)[2][:3] == DEBRIS_COVERED_ICE.rgb
        assert dataset.crs.to_epsg() == 32645
        assert tuple(dataset.bounds) == GRID.bounds
        np.testing.assert_array_equal(dataset.read(1), _class_map())


def test_overviews_show_classes_that_are_there_never_averages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(class_map_to_cog(_class_map(), GRID, GLACIER_SCHEME))
    with rasterio.open(path, overview_level=0) as overview:
        half = overview.read(1)
    assert half.shape == (350, 550)
    assert set(np.unique(half)) == {0, 1, 2, 255}
    assert half[:, :50].max() == 0
    assert half[160, 300] == 2


def test_a_float_map_survives_with_nan_description_and_place(tmp_path: Path) -> None:
    entropy = np.random.default_rng(0).random((700, 1100), dtype=np.float32)
    entropy[:5] = np.nan
    path = tmp_path / "a.tif"
    with float_map_writer(path, GRID, "predictive entropy (nats)") as write:
        for row in range(0, 700, 130):  # no multiple of a block
            write(row, entropy[row : row + 130])
    with rasterio.open(path) as dataset:
        assert np.isnan(dataset.nodata)
        assert dataset.descriptions == ("predictive entropy (nats)",)
        assert dataset.profile["tiled"]
        assert tuple(dataset.bounds) == GRID.bounds
        np.testing.assert_array_equal(dataset.read(1), entropy)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OutlineError, match=r"found the values \[3\]"):
        class_map_to_cog(np.full((700, 1100), 3, dtype=np.uint8), GRID, GLACIER_SCHEME)


@pytest.mark.parametrize(
    ("row", "shape", "message"),
    [
        (5, (10, 1100), "found a strip from row 5; expected one from row 0"),
        (0, (10, 1099), "found a strip of 1099 columns; expected 1100"),
        (0, (701, 1100), "expected it inside 700 rows x 1100 columns"),
    ],
)
def test_strips_that_do_not_fit_are_refused(tmp_path: Path, row: int, shape: tuple[int, int], message: str) -> None:
    with (
        float_map_writer(tmp_path / "a.tif", GRID, "") as write,
        pytest.raises(SceneError, match=message),
    ):
        write(row, np.zeros(shape, dtype=np.float32))
