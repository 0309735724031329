from itertools import combinations
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from numpy.typing import NDArray

from imagery import everest, everest_files
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import footprints_overlap
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.valid_pixels import check_has_data


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> everest.EverestScene:
    return everest.prepare(tmp_path_factory.mktemp("everest"))


def shares_of(truth: NDArray[np.uint8]) -> list[float]:
    """Of background, clean ice and debris-covered ice; no pixel of this truth is unknown."""
    return [float((truth == entry.value).mean()) for entry in GLACIER_SCHEME.classes]


def test_the_bands_make_the_scene_that_is_described(scene: everest.EverestScene) -> None:
    source = describe(scene.bands)
    assert source.band_names == ("red", "green", "blue", "nir")
    assert (source.grid.width, source.grid.height, source.grid.crs) == (800, 655, "EPSG:32645")
    # Mount Everest's summit, 27.9881 N 86.9250 E, lies in it.
    left, bottom, right, top = source.grid.footprint_wgs84().bounds
    assert left < 86.9250 < right
    assert bottom < 27.9881 < top
    check_has_data(source)


def test_the_bands_are_what_they_are_called(scene: everest.EverestScene) -> None:
    # Snow is bright in the visible and darker in the near infrared, and in the files red comes first.
    source = describe(scene.bands)
    with SceneReader(source) as reader:
        pixels = reader.read(["red", "blue", "nir"], source.grid.window)
    with rasterio.open(scene.bands[0].path) as rgb, rasterio.open(scene.bands[3].path) as nir:
        np.testing.assert_array_equal(pixels, [rgb.read(1), rgb.read(3), nir.read(1)])
    assert not np.isnan(pixels).any()


def test_regions_share_no_ground_and_cover_the_scene(scene: everest.EverestScene) -> None:
    grids = {role: describe(scene.bands, region=window).grid for role, window in scene.regions.items()}
    assert set(grids) == {"pool", "validation", "test"}
    assert not any(footprints_overlap(a, b) for a, b in combinations(grids.values(), 2))
    assert sum(grid.width * grid.height for grid in grids.values()) == 800 * 655


def test_every_region_holds_every_class(scene: everest.EverestScene) -> None:
    for role, window in scene.regions.items():
        shares = shares_of(rasterize_outlines(scene.outlines, describe(scene.bands).grid, GLACIER_SCHEME, window))
        assert min(shares) > 0.05, (role, shares)


def test_the_truth_is_rgi_split_by_the_stated_rule(scene: everest.EverestScene) -> None:
    truth = rasterize_outlines(scene.outlines, describe(scene.bands).grid, GLACIER_SCHEME)
    assert shares_of(truth) == pytest.approx([0.46, 0.44, 0.10], abs=0.01)


def test_the_truth_file_gives_back_the_mask_it_was_made_from_pixel_by_pixel(scene: everest.EverestScene) -> None:
    mask, grid = everest._truth_mask(scene.bands)
    np.testing.assert_array_equal(rasterize_outlines(scene.outlines, grid, GLACIER_SCHEME), mask)


def test_the_truth_file_is_in_the_scenes_crs_and_preparing_twice_adds_nothing(tmp_path: Path) -> None:
    first = everest.prepare(tmp_path)
    counts = {layer: pyogrio.read_info(first.truth, layer=layer)["features"] for _, layer in everest._LAYERS}
    second = everest.prepare(tmp_path)
    for layer, count in counts.items():
        info = pyogrio.read_info(second.truth, layer=layer)
        assert (info["features"], info["crs"]) == (count, "EPSG:32645")


def test_debris_is_dark_but_not_blue_and_smoothed_by_majority() -> None:
    glacier = np.ones((9, 9), dtype=np.bool_)
    red, blue = np.full((9, 9), 250.0, np.float32), np.full((9, 9), 100.0, np.float32)
    nir = np.full((9, 9), 99.0, np.float32)  # blue / (nir + 1) = 1, not bluish
    red[:, :4] = 100.0
    red[4, 8] = 100.0  # a lone dark pixel
    debris = everest._debris_covered(red, blue, nir, glacier)
    assert debris[:, :4].all()
    assert not debris[:, 4:].any()
    assert not everest._debris_covered(red, blue * 2, nir, glacier).any()  # ratio 2: shaded ice
    assert not everest._debris_covered(red, blue, nir, ~glacier).any()


def test_a_missing_wheel_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(everest_files, "find_spec", lambda name: None)
    with pytest.raises(SceneError, match=r"pip install --no-deps geoutils==0\.0\.8"):
        everest.prepare(tmp_path)
