import io

import numpy as np
import pytest
from PIL import Image

from catalog.records import Scoring, now
from imagery.cog import float_map_writer
from imagery.composites import mark_region, uncertainty_heatmap
from imagery.grid import Grid, Window
from services import raster_keys
from services.image_urls import ImageUrls
from services.places import raster_store
from services.scenes import source_of
from tests.workers.rows import patches, tiled
from workers.views import OutlinedRegion, draw_views, surroundings_of


@pytest.fixture
def place(catalog, tmp_path):
    scene = tiled(catalog, tmp_path / "a.tif", nodata_columns=40)[0]
    return scene, patches(catalog, scene.id)[8]  # rows 32 to 63, columns 96 to 127: ice, debris, rock and nodata


def picture(catalog, patch, name) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(raster_store(catalog).get(raster_keys.view(patch.id, name)))))


def test_every_view_is_as_large_as_the_patch(catalog, place):
    scene, patch = place
    views = draw_views(raster_store(catalog), scene, patch, None, 3)
    surroundings = views.pop("surroundings")
    assert list(views) == ["true_colour", "false_colour"]  # four bands and no elevation allow no more
    for name in views.values():
        assert picture(catalog, patch, name).shape == (32, 32, 3)
    assert picture(catalog, patch, surroundings).shape == (100, 160, 3)  # the whole scene, which is small


def test_true_colour_shows_the_bands_stretched(catalog, place):
    scene, patch = place
    draw_views(raster_store(catalog), scene, patch, None, 3)
    shown = picture(catalog, patch, "true-colour")
    assert shown[:, :20].std() > 0
    grey = shown[:, -8:]  # from column 120 on there is no data: hatched in two greys
    assert set(np.unique(grey)) == {72, 120}


def test_before_the_first_model_there_is_no_uncertainty_to_show(catalog, place):
    scene, patch = place
    assert "uncertainty" not in draw_views(raster_store(catalog), scene, patch, None, 3)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(1000, 1000, 512, 512), Window(488, 488, 1536, 1536)),
        (Window(1000, 1000, 64, 64), Window(840, 840, 384, 384)),
        (Window(0, 2936, 64, 64), Window(0, 2616, 384, 384)),  # in a corner of the scene
    ],
)
def test_the_surroundings_are_wider_and_within_the_scene(window, expected):
    grid = Grid("EPSG:32645", (30.0, 0.0, 400_000.0, 0.0, -30.0, 3_100_000.0), 3000, 3000)
    assert surroundings_of(window, grid) == expected


def test_the_surroundings_frame_the_patch(catalog, place):
    scene, patch = place
    draw_views(raster_store(catalog), scene, patch, None, 3)
    yellow = (picture(catalog, patch, "surroundings") == (250, 204, 21)).all(axis=-1)
    assert yellow[30:32, 94:130].all()
    assert not yellow[32:64, 96:128].any()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_heat_map_is_of_that_scoring_and_reaches_the_highest_entropy_of_its_head(catalog, place, tmp_path, classes):
    scene, patch = place
    store = raster_store(catalog)
    entropy = np.linspace(0, np.log(classes), 160, dtype=np.float32)[None].repeat(100, axis=0)
    with float_map_writer(tmp_path / "entropy.tif", source_of(scene).grid, "nats") as write:
        write(0, entropy)
    store.put_file(raster_keys.scored(4, scene.id, "entropy"), tmp_path / "entropy.tif")
    scoring = Scoring(id=4, model_version=2, passes=3, seed=0, started_at=now())
    views = draw_views(store, scene, patch, scoring, classes)
    assert views["uncertainty"] == "uncertainty-4"  # another scoring, another address: no browser shows an old one
    np.testing.assert_array_equal(
        picture(catalog, patch, "uncertainty-4"), uncertainty_heatmap(entropy[32:64, 96:128], float(np.log(classes)))
    )
    asked = np.zeros((32, 32), dtype=bool)
    asked[8:16, 8:16] = True
    views = draw_views(store, scene, patch, scoring, classes, OutlinedRegion(7, asked))
    assert views["uncertainty"] == "uncertainty-4-part-7"
    np.testing.assert_array_equal(
        picture(catalog, patch, "uncertainty-4-part-7"), mark_region(picture(catalog, patch, "uncertainty-4"), asked)
    )


def test_names_of_views_can_be_signed_and_stored(catalog, place):
    scene, patch = place
    urls = ImageUrls("http://127.0.0.1:1", "key", 60)
    views = draw_views(raster_store(catalog), scene, patch, None, 3)
    assert len(views) >= 3
    for name in views.values():
        assert f"/patches/{patch.id}/composites/{name}.png?signature=" in urls.url(patch.id, name)
