"""Synthetic scenes on real relief and outlines: what is kept of the place, and what is made on it."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid, Window
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.synthetic import SyntheticScene, write_scene_on
from imagery.synthetic_ground import STEEPEST_DEBRIS_DEG, MappedGround
from imagery.synthetic_pixels import Landscape, SyntheticOptions
from imagery.synthetic_radiometry import REFLECTIVE
from imagery.synthetic_site import Site, read_site, site_grid
from imagery.synthetic_surface import Shares
from imagery.synthetic_terrain import Sun

DATA = Path(__file__).parents[1] / "data"
DEM, OUTLINES = str(DATA / "relief" / "oetztal.tif"), str(DATA / "rgi_oetztal.shp")
NO_CLOUD = SyntheticOptions(shares=Shares(0.0, 0.03, 0.0))


@pytest.fixture(scope="module")
def site() -> Site:
    return read_site(DEM, [OutlineLayer(OUTLINES, None, CLEAN_ICE.name)], site_grid(DEM, 160, 200))


@pytest.fixture(scope="module")
def scene(site: Site, tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return write_scene_on(tmp_path_factory.mktemp("scene"), site, 1, NO_CLOUD)


@pytest.fixture(scope="module")
def truth(scene: SyntheticScene) -> NDArray[np.uint8]:
    with rasterio.open(scene.truth) as dataset:
        mask: NDArray[np.uint8] = dataset.read(1)
    return mask


def test_a_site_lies_in_the_utm_zone_of_its_relief_on_whole_pixels(site: Site) -> None:
    assert site.grid.crs == "EPSG:32632"
    assert [value % 30 for value in site.grid.transform[2::3]] == [0, 0]
    with rasterio.open(DEM) as dataset:
        left, bottom, right, top = dataset.bounds
        middle = dataset.read(1)[dataset.height // 2, dataset.width // 2]
    assert site.grid.centre_wgs84() == pytest.approx(((left + right) / 2, (bottom + top) / 2), abs=0.001)
    assert site.elevation_m[80, 100] == pytest.approx(middle, abs=60)


def test_another_corner_can_be_chosen() -> None:
    assert site_grid(DEM, 128, 140, (630000.0, 5180010.0)).transform == (30.0, 0.0, 630000.0, 0.0, -30.0, 5180010.0)


def test_the_glaciers_of_the_truth_are_those_of_the_outlines(site: Site, truth: NDArray[np.uint8]) -> None:
    glacier = site.classes == CLEAN_ICE.value
    assert 0.02 < glacier.mean() < 0.9
    assert np.array_equal((truth == CLEAN_ICE.value) | (truth == DEBRIS_COVERED_ICE.value), glacier)
    assert np.mean(truth == DEBRIS_COVERED_ICE.value) == pytest.approx(0.03, abs=0.001)


def test_debris_lies_low_and_flat_on_the_glaciers(site: Site, truth: NDArray[np.uint8]) -> None:
    debris, clean = truth == DEBRIS_COVERED_ICE.value, truth == CLEAN_ICE.value
    assert np.median(site.elevation_m[debris]) < np.median(site.elevation_m[clean])
    slope_deg = np.degrees(np.arctan(np.hypot(*np.gradient(site.elevation_m, 30.0))))
    assert np.percentile(slope_deg[debris], 90) < STEEPEST_DEBRIS_DEG
    assert np.median(slope_deg[debris]) < np.median(slope_deg[clean])


def test_the_scene_is_registered_like_any_other_and_its_dem_is_the_relief(scene: SyntheticScene, site: Site) -> None:
    source = describe(scene.bands, dem=scene.dem)
    assert source.grid == site.grid
    with SceneReader(source) as reader:
        (elevation,) = reader.read(("elevation",), source.grid.window)
    assert np.allclose(elevation, site.elevation_m, atol=0.01)
    assert np.array_equal(
        rasterize_outlines(scene.outlines, source.grid, GLACIER_SCHEME) != BACKGROUND, site.classes != BACKGROUND
    )


def test_outlined_debris_is_kept_and_none_is_placed() -> None:
    elevation = np.full((130, 130), 2000.0, dtype=np.float32) + np.arange(130, dtype=np.float32)[:, None]
    classes = np.full(elevation.shape, BACKGROUND, dtype=np.uint8)
    classes[20:60, 20:100] = CLEAN_ICE.value
    classes[60:80, 20:60] = DEBRIS_COVERED_ICE.value
    ground = MappedGround(elevation, classes, 1, Shares(0.0, 0.3, 0.0), 0.0)
    truth = Landscape(130, 130, 1, NO_CLOUD, ground).pixels(Window(0, 0, 130, 130)).truth
    assert np.array_equal(truth, classes)


def test_ground_without_elevation_is_unknown_and_nodata_in_the_dem(tmp_path: Path, site: Site) -> None:
    elevation = site.elevation_m.copy()
    elevation[10:30, 40:50] = np.nan
    scene = write_scene_on(tmp_path, Site(site.grid, elevation, site.classes), 1, NO_CLOUD)
    void = np.isnan(elevation)
    with rasterio.open(scene.truth) as dataset:
        assert np.array_equal(dataset.read(1) == UNKNOWN, void)
    with rasterio.open(scene.dem.tiles[0].path) as dataset:
        assert np.array_equal(dataset.read(1, masked=True).mask[2:-2, 2:-2], void)
    with rasterio.open(scene.bands[0].path) as dataset:
        assert (dataset.read(1) > 0).all()  # the picture itself has no gap


def test_shadow_falls_to_the_side_away_from_the_sun() -> None:
    elevation = np.zeros((128, 200), dtype=np.float32)
    elevation[:, 100] = 300.0  # a wall from north to south
    no_ice = np.zeros(elevation.shape, dtype=np.uint8)
    ground = MappedGround(elevation, no_ice, 1, Shares(0.0, 0.0, 0.0), 0.0)
    options = SyntheticOptions(shares=Shares(0.0, 0.0, 0.0), sun=Sun(azimuth_deg=90.0, elevation_deg=45.0))
    pixels = Landscape(128, 200, 1, options, ground).pixels(Window(0, 0, 128, 200))
    # 300 m at 45 degrees: 10 pixels of 30 m; the tenth is level with the ray.
    assert np.flatnonzero(pixels.shadow[64]).tolist() == list(range(91, 100))
    red = pixels.reflective[REFLECTIVE.index("red")].astype(float)
    assert red[:, 91:99].mean() < red[:, 105:140].mean()


def test_what_cannot_be_made_is_explained(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"found debris-covered ice on 90.0% .* expected at most"):
        write_scene_on(tmp_path, site, 1, SyntheticOptions(shares=Shares(0.0, 0.9, 0.0)))
    with pytest.raises(SceneError, match=r"found elevation .* expected one shape"):
        MappedGround(site.elevation_m, site.classes[:-1], 1, Shares(), 0.0)
    far = Grid("EPSG:32632", (30.0, 0.0, 300000.0, 0.0, -30.0, 5500000.0), 128, 128)
    with pytest.raises(SceneError, match="found no elevation for the scene"):
        read_site(DEM, [OutlineLayer(OUTLINES, None, CLEAN_ICE.name)], far)
    with pytest.raises(OutlineError):
        read_site(DEM, [OutlineLayer(str(tmp_path / "none.shp"), None, CLEAN_ICE.name)], site.grid)
