"""The map's tiles and what it can show, over HTTP."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import Scene, SceneState, Scoring, now
from catalog.registry import ModelVersion
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from imagery.projection import transform_points
from imagery.scene_source import SceneSource
from imagery.window_files import image_to_geotiff
from services import raster_keys
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    return forge_scene(tmp_path / "scene.tif")


@pytest.fixture
def scene_id(catalog: Catalog, forged: ForgedScene) -> int:
    """A scene whose pixels exist, and its old outlines."""
    with catalog.write() as session:
        scene, _ = add_scene(session)
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        scene.stretch = {band.name: [0.0, 255.0] for band in forged.bands}
        number = scene.id
    store = raster_store(catalog)
    store.put(raster_keys.prior(number), mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME))
    return number


def tile_at(forged: ForgedScene, row: int, column: int, zoom: int = 15) -> tuple[str, int, int]:
    """The address of the tile over a pixel of the scene, and the pixel of the tile that shows its middle."""
    x, y = forged.grid.affine @ (column + 0.5, row + 0.5)
    (mx, my), *_ = transform_points(np.array([[x, y]]), forged.grid.crs, "EPSG:3857")
    half = np.pi * 6378137.0
    across, down = (mx + half) / (2 * half) * 2**zoom, (half - my) / (2 * half) * 2**zoom
    return f"{zoom}/{int(across)}/{int(down)}.webp", int(down % 1 * 256), int(across % 1 * 256)


def picture(client: FlaskClient, path: str, headers: dict[str, str]) -> np.ndarray:
    response = client.get(path, headers=headers)
    assert (response.status_code, response.content_type) == (200, "image/webp"), response.text
    return np.asarray(Image.open(io.BytesIO(response.data)).convert("RGBA"))


def test_it_says_what_can_be_shown(client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene):
    shown = client.get(f"/api/v1/scenes/{scene_id}/map", headers=as_role(catalog, "reader")).get_json()
    west, south, east, north = shown["bounds"]
    assert west < 86.8 < east and south < 28.08 < north  # the forged scene begins at 86.78 E, 28.10 N
    assert [view["name"] for view in shown["views"]][:2] == ["true-colour", "false-colour"]
    assert [(layer["name"], layer["version"]) for layer in shown["layers"]] == [("prior", None)]  # what has a file
    assert {"value": CLEAN_ICE.value, "name": "clean ice", "colour": CLEAN_ICE.colour} in shown["classes"]
    assert "background" not in {item["name"] for item in shown["classes"]}


def test_a_tile_has_another_address_once_its_scene_or_map_is_another(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    reader = as_role(catalog, "reader")

    def addresses() -> tuple[str, str]:
        shown = client.get(f"/api/v1/scenes/{scene_id}/map", headers=reader).get_json()
        return shown["views"][0]["tiles"], shown["layers"][0]["tiles"]

    place, *_ = tile_at(forged, 20, 30)
    view, prior = addresses()
    assert addresses() == (view, prior)
    for address in (view, prior):
        picture(client, address.replace("{z}/{x}/{y}.webp", place), reader)
    raster_store(catalog).put(
        raster_keys.prior(scene_id), mask_to_geotiff(np.zeros_like(forged.truth), forged.grid, GLACIER_SCHEME)
    )
    same_view, other_prior = addresses()
    assert same_view == view and other_prior != prior
    with catalog.write() as session:
        session.get_one(Scene, scene_id).revision += 1
    other_view, another_prior = addresses()
    assert other_view != view and another_prior not in {prior, other_prior}


def test_a_map_of_other_classes_than_people_draw_says_so(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    glacier_or_not = json.dumps(["background", "glacier"])
    with catalog.write() as session:
        registry_copy.store(session, [ModelVersion(1, "a-run", now(), {"class_names": glacier_or_not})])
        registry_copy.store(
            session, [ModelVersion(2, "a-run", now(), {"class_names": json.dumps(GLACIER_SCHEME.names)})]
        )
        scene = session.get_one(Scene, scene_id)
        keys = [prediction_keys(scene, version, delivery_options(catalog.settings))["tif"] for version in (1, 2)]
    for key in keys:
        raster_store(catalog).put(key, mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME))
    found = []
    for version in (1, 2):
        answer = client.get(f"/api/v1/scenes/{scene_id}/map?version={version}", headers=as_role(catalog, "reader"))
        shown = answer.get_json()
        layers = {layer["name"]: layer["classes"] for layer in shown["layers"]}
        assert layers["prior"] == shown["classes"]
        found.append(layers["prediction"])
    assert found == [[{"value": 1, "name": "glacier", "colour": CLEAN_ICE.colour}], shown["classes"]]


def test_a_tile_shows_the_pixels_of_its_place(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    reader = as_role(catalog, "reader")
    place, down, across = tile_at(forged, 20, 30)  # clean ice
    colours = picture(client, f"/api/v1/scenes/{scene_id}/tiles/true-colour/{place}", reader)
    # Ice has 230, 225, 220 with a noise of 6, of 0 to 255; the picture is compressed.
    np.testing.assert_allclose(colours[down, across, :3], [230, 225, 220], atol=25)
    classes = picture(client, f"/api/v1/scenes/{scene_id}/maps/prior/{place}", reader)
    assert classes[down, across].tolist() == [*CLEAN_ICE.rgb, 255]
    rock, down, across = tile_at(forged, 37, 50)  # the island of rock in it is background: nothing is drawn
    assert picture(client, f"/api/v1/scenes/{scene_id}/maps/prior/{rock}", reader)[down, across, 3] == 0


def test_a_window_of_a_map_is_drawn_pixel_by_pixel(client: FlaskClient, catalog: Catalog, scene_id: int):
    window = "row_off=28&col_off=38&height=4&width=5"  # over the corner of the island of rock at row 30, column 40
    path = f"/api/v1/scenes/{scene_id}/maps/prior/window.webp?{window}"
    drawn = picture(client, path, as_role(catalog, "reader"))
    assert drawn.shape == (4, 5, 4)
    assert (drawn[..., 3] > 0).tolist() == [[True] * 5] * 2 + [[True, True, False, False, False]] * 2
    assert drawn[0, 0].tolist() == [*CLEAN_ICE.rgb, 255]


def test_a_tile_that_is_known_is_not_sent_again(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    path = f"/api/v1/scenes/{scene_id}/tiles/true-colour/{tile_at(forged, 20, 30)[0]}"
    first = client.get(path, headers=as_role(catalog, "reader"))
    again = client.get(path, headers={**as_role(catalog, "reader"), "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    with catalog.write() as session:  # another contrast is another picture
        session.get_one(Scene, scene_id).stretch = {band.name: [0.0, 100.0] for band in forged.bands}
    changed = client.get(path, headers={**as_role(catalog, "reader"), "If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_a_map_that_was_made_anew_under_its_name_is_sent(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    path = f"/api/v1/scenes/{scene_id}/maps/prior/{tile_at(forged, 20, 30)[0]}"
    first = client.get(path, headers=as_role(catalog, "reader"))
    known = {**as_role(catalog, "reader"), "If-None-Match": first.headers["ETag"]}
    assert client.get(path, headers=known).status_code == 304
    other = mask_to_geotiff(np.zeros_like(forged.truth), forged.grid, GLACIER_SCHEME)
    raster_store(catalog).put(raster_keys.prior(scene_id), other)
    assert client.get(path, headers=known).status_code == 200


@pytest.mark.parametrize("what", ["tiles/true-colour", "maps/prior"])
def test_a_scene_with_another_description_is_sent_anew(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene, what: str
):
    path = f"/api/v1/scenes/{scene_id}/{what}/{tile_at(forged, 20, 30)[0]}"
    first = client.get(path, headers=as_role(catalog, "reader"))
    with catalog.write() as session:  # as `services.scene_replacement`, with files of the same names and contrast
        session.get_one(Scene, scene_id).revision += 1
    known = {**as_role(catalog, "reader"), "If-None-Match": first.headers["ETag"]}
    assert client.get(path, headers=known).status_code == 200


def test_a_map_of_the_newest_scoring_is_not_shown_as_that_of_an_earlier_version(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    with catalog.write() as session:
        scoring = Scoring(model_version=4, passes=2, seed=0, completed_at=now())
        session.add(scoring)
        session.flush()
        key = raster_keys.scored(scoring.id, scene_id, "classes")
    raster_store(catalog).put(key, mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME))
    place, _, _ = tile_at(forged, 20, 30)
    asked = {
        query: client.get(f"/api/v1/scenes/{scene_id}/maps/learner/{place}{query}", headers=as_role(catalog, "reader"))
        for query in ("", "?version=4", "?version=3")
    }
    assert [answer.status_code for answer in asked.values()] == [200, 200, 404]
    assert_problem(asked["?version=3"], 404, "is by version 4 now")


def test_the_scale_of_a_map_says_which_value_has_which_colour(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    """Of three classes the entropy is ln 3 nats at most: it is drawn in the last colour, 0 in the first."""
    with catalog.write() as session:
        scoring = Scoring(model_version=4, passes=2, seed=0, completed_at=now())
        session.add(scoring)
        session.flush()
        key = raster_keys.scored(scoring.id, scene_id, "entropy")
    entropy = np.zeros((1, *forged.truth.shape), np.float32)
    entropy[0, :30] = np.log(3)
    raster_store(catalog).put(key, image_to_geotiff(entropy, forged.grid, ["entropy"], {"entropy": "nats"}))
    reader = as_role(catalog, "reader")
    layers = client.get(f"/api/v1/scenes/{scene_id}/map", headers=reader).get_json()["layers"]
    scales = {layer["name"]: layer["scale"] for layer in layers}
    assert scales["prior"] is None
    scale = scales["uncertainty"]
    assert (scale["quantity"], scale["unit"], scale["low"]) == ("predictive entropy", "nats", 0.0)
    assert scale["high"] == pytest.approx(1.0986, abs=1e-4)
    for row, colour in ((10, scale["colours"][-1]), (80, scale["colours"][0])):
        place, down, across = tile_at(forged, row, 30)
        drawn = picture(client, f"/api/v1/scenes/{scene_id}/maps/uncertainty/{place}", reader)[down, across]
        assert "#" + bytes(drawn[:3].tolist()).hex() == colour


def test_a_map_that_was_made_anew_has_another_checksum(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    """The pool is scored anew by the same version, with other passes for instance: an open page takes in its maps."""
    found = []
    for passes, nats in ((2, 0.1), (3, 0.2)):
        with catalog.write() as session:
            scoring = Scoring(model_version=4, passes=passes, seed=0, completed_at=now())
            session.add(scoring)
            session.flush()
            key = raster_keys.scored(scoring.id, scene_id, "entropy")
        entropy = np.full((1, *forged.truth.shape), nats, np.float32)
        stored = raster_store(catalog).put(
            key, image_to_geotiff(entropy, forged.grid, ["entropy"], {"entropy": "nats"})
        )
        layers = client.get(f"/api/v1/scenes/{scene_id}/map", headers=as_role(catalog, "reader")).get_json()["layers"]
        checksums = {layer["name"]: layer["checksum"] for layer in layers}
        assert checksums["uncertainty"] == stored
        found.append(checksums)
    assert found[0]["uncertainty"] != found[1]["uncertainty"]
    assert found[0]["prior"] == found[1]["prior"] is not None


def test_beside_the_scene_there_is_nothing(client: FlaskClient, catalog: Catalog, scene_id: int):
    colours = picture(client, f"/api/v1/scenes/{scene_id}/tiles/true-colour/8/0/0.webp", as_role(catalog, "reader"))
    assert not colours[..., 3].any()


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("tiles/infra-green/8/0/0.webp", 404, "its views: true-colour, false-colour"),
        ("tiles/true-colour/3/8/0.webp", 422, "found the tile 3/8/0"),
        ("maps/uncertainty/8/0/0.webp", 404, "has no map 'uncertainty' now"),
        ("maps/prediction/8/0/0.webp?version=7", 404, "has no map 'prediction' now"),
    ],
)
def test_what_does_not_exist_is_said(
    client: FlaskClient, catalog: Catalog, scene_id: int, path: str, status: int, says: str
):
    found = client.get(f"/api/v1/scenes/{scene_id}/{path}", headers=as_role(catalog, "reader"))
    assert_problem(found, status)
    assert says in found.get_json()["detail"]


def test_a_scene_that_is_not_ready_is_not_shown(client: FlaskClient, catalog: Catalog):
    with catalog.write() as session:
        scene, _ = add_scene(session, state=SceneState.REGISTERED)
        number = scene.id
    assert_problem(client.get(f"/api/v1/scenes/{number}/map", headers=as_role(catalog, "reader")), 409)
