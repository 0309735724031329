"""How a map shows a scene."""

import io

import numpy as np
import pytest
from PIL import Image

from imagery.channels import ELEVATION
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.map_views import MapView, draw_classes, draw_share, draw_view, encode_tile, hillshade, map_views
from imagery.scene_source import BandSource, SceneSource
from tests.imagery.forge import NORTH_UP, UTM_45N


def scene_with(*names: str) -> SceneSource:
    bands = tuple(BandSource(name, "scene.tif", index) for index, name in enumerate(names, 1))
    return SceneSource(bands, Grid(UTM_45N, NORTH_UP, 4, 4), (0, 0))


def test_the_views_are_those_that_the_channels_allow():
    views = map_views(scene_with("red", "green", "blue", "nir", "swir1", "swir2"))
    assert list(views)[:5] == ["true-colour", "false-colour", "colour-infrared", "short-wave", "snow-and-cloud"]
    assert views["false-colour"].channels == ("swir1", "nir", "red")
    assert views["colour-infrared"].channels == ("nir", "red", "green")
    assert views["channel-ndsi"].channels == ("ndsi",)
    assert not {"hillshade", "channel-slope"} & set(views)  # no elevation


def test_no_view_is_offered_twice():
    views = map_views(scene_with("red", "green", "blue", "nir"))
    assert views["false-colour"].channels == ("nir", "red", "green")
    assert "colour-infrared" not in views


def test_elevation_gives_a_hillshade_and_the_slope():
    views = map_views(scene_with("red", ELEVATION))
    assert views["hillshade"].stretched == ()
    assert views["channel-slope"].channels == ("slope",)


def test_light_from_the_north_west():
    flat, facing, away = (0.0, 0.0, 0.0), (45.0, -np.sqrt(0.5), np.sqrt(0.5)), (45.0, np.sqrt(0.5), -np.sqrt(0.5))
    slope, aspect_sin, aspect_cos = np.array([flat, facing, away], dtype=np.float32).T[:, None]
    # The sun is 45 degrees high: flat ground gets sin 45, a slope of 45 degrees towards it all, one away from it none.
    np.testing.assert_allclose(hillshade(slope, aspect_sin, aspect_cos), [[np.sqrt(0.5), 1.0, 0.0]], atol=1e-6)


def test_a_view_is_stretched_and_transparent_where_a_channel_is_missing():
    view = MapView("x", "X", None, ("a", "b", "c"))
    pixels = np.array([[[0.0, 5.0, 20.0, 5.0]], [[0.0, 5.0, 10.0, 5.0]], [[0.0, 5.0, 10.0, np.nan]]], dtype=np.float32)
    drawn = draw_view(view, pixels, dict.fromkeys("abc", (0.0, 10.0)))
    assert drawn.tolist() == [[[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255], [0, 0, 0, 0]]]


def test_a_contrast_that_is_not_known_is_said():
    with pytest.raises(SceneError, match="the contrast of a is not known"):
        draw_view(MapView("x", "X", None, ("a",)), np.zeros((1, 1, 1), dtype=np.float32), {})


def test_classes_and_shares_are_coloured_and_the_rest_transparent():
    drawn = draw_classes(np.array([[0, 1, 255]], dtype=np.uint8), {1: (10, 20, 30)})
    assert drawn.tolist() == [[[0, 0, 0, 0], [10, 20, 30, 255], [0, 0, 0, 0]]]
    share = draw_share(np.array([[0.0, 1.0, np.nan]]))
    assert share[..., 3].tolist() == [[255, 255, 0]]
    assert share[0, 0, :3].sum() < share[0, 1, :3].sum()


def test_a_map_is_encoded_without_loss():
    values = np.random.default_rng(3).integers(0, 3, (256, 256)).astype(np.uint8)
    picture = draw_classes(values, {1: (56, 189, 248), 2: (249, 115, 22)})
    decoded = np.asarray(Image.open(io.BytesIO(encode_tile(picture))).convert("RGBA"))
    np.testing.assert_array_equal(decoded[..., 3], picture[..., 3])
    np.testing.assert_array_equal(decoded[values > 0], picture[values > 0])
