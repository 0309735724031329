"""Clicks that mend a proposal: who may ask, what comes back, and what an annotator clicked before."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from werkzeug.test import TestResponse

from al_server.app import create_app
from catalog.context import Catalog
from catalog.records import Proposal, ProposalState
from catalog.settings import Settings
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.grid import Window
from imagery.masks import mask_to_geotiff
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from labeling.interactive import USER
from labeling.regions import decode_result
from services import raster_keys
from services.mending import PlacedClick, mend
from services.patch_bands import store_bands
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import NO_REDIS, add_round, add_scene, as_role
from tests.imagery.forge import forge_scene
from tests.labeling.payloads import basic, body, click_request

HEALTH, SETUP, PREDICT = (f"/api/v1/interactive/{name}" for name in ("health", "setup", "predict"))
SIDE = 32
ICE, DEBRIS = CLEAN_ICE.value, DEBRIS_COVERED_ICE.value


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(**{**settings.model_dump(), "interactive_clicks": True})


@pytest.fixture
def proposal(catalog: Catalog, tmp_path) -> Proposal:
    """A patch of which rows 10 to 31 and columns 20 to 31 are clean ice, shown as background by version 3."""
    forged = forge_scene(tmp_path / "scene.tif")
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        _, (added,) = add_round(session, [patches[0]])
        added.preannotated_by = 3
        source, window = source_of(scene), window_of(patches[0])
    show(catalog, added, np.zeros((SIDE, SIDE), np.uint8))
    with SceneReader(source) as reader:
        store_bands(raster_store(catalog), reader, source, patches[0].id, window)
    (tmp_path / "scene.tif").unlink()  # the server must not open it: it may lie at an address that hangs
    return added


def show(catalog: Catalog, proposal: Proposal, shown: NDArray[np.uint8]) -> None:
    with catalog.read() as session:
        source = SceneSource.from_json(session.get_one(Proposal, proposal.id).patch.scene.source)
    mask = mask_to_geotiff(shown, source.grid, GLACIER_SCHEME, Window(0, 0, SIDE, SIDE))
    raster_store(catalog).put(raster_keys.preannotation(proposal.uid, 3), mask)


def ask(client: FlaskClient, catalog: Catalog, data: bytes) -> TestResponse:
    headers = basic(USER, catalog.secrets.interactive_password)
    return client.post(PREDICT, data=data, content_type="application/json", headers=headers)


def click(
    client: FlaskClient, catalog: Catalog, proposal: Proposal, label: str, pixel: tuple[int, int], region: str = "a"
) -> NDArray[np.uint8]:
    """Click on the middle of a pixel; return the map that the suggestions draw."""
    y, x = ((position + 0.5) / SIDE * 100 for position in pixel)
    response = ask(client, catalog, body(click_request(proposal.uid, x, y, label, SIDE, region)))
    assert response.status_code == 200, response.get_data()
    (suggested,) = response.get_json()["results"]
    return drawn(suggested["result"])


def drawn(regions: list[dict[str, Any]]) -> NDArray[np.uint8]:
    labels = {item.name: item.value for item in GLACIER_SCHEME.annotated}
    assert [region["id"] for region in regions] == ["pre-1", "pre-2", "pre-255"]  # those of the pre-annotation
    painted = np.zeros((SIDE, SIDE), np.uint8)
    for region in decode_result(regions, height=SIDE, width=SIDE, labels=labels):
        painted[region.mask] = labels[region.label]
    return painted


def test_a_click_on_ice_paints_the_ice_around_it_and_not_the_rock(client, catalog, proposal):
    mended = click(client, catalog, proposal, "clean ice", (20, 26))
    assert (mended[12:30, 21:31] == ICE).mean() > 0.95
    assert (mended[:9] == 0).all()
    assert (mended[:, :19] == 0).mean() > 0.99


def test_earlier_clicks_are_remembered_though_label_studio_sends_only_the_newest(client, catalog, proposal):
    click(client, catalog, proposal, "clean ice", (20, 26), "a")
    mended = click(client, catalog, proposal, "debris-covered ice", (2, 2), "b")
    assert (mended[20, 26], mended[2, 2]) == (ICE, DEBRIS)
    np.testing.assert_array_equal(click(client, catalog, proposal, "debris-covered ice", (2, 2), "b"), mended)


def test_what_is_clicked_away_comes_back_as_a_region_without_pixels(client, catalog, proposal):
    """Accepting a suggestion replaces regions by their id: one that is missing would stay as it was."""
    shown = np.zeros((SIDE, SIDE), np.uint8)
    shown[1:4, 1:4] = DEBRIS
    show(catalog, proposal, shown)
    mended = click(client, catalog, proposal, "background", (2, 2))
    assert not (mended == DEBRIS).any()


def test_pixels_can_be_clicked_as_unknown(client, catalog, proposal):
    assert click(client, catalog, proposal, "masked/unknown", (5, 5))[5, 5] == UNKNOWN


def test_a_task_that_opened_empty_is_mended_from_nothing(client, catalog, proposal):
    with catalog.database.write() as session:
        session.get_one(Proposal, proposal.id).preannotated_by = None
    raster_store(catalog).delete(raster_keys.preannotation(proposal.uid, 3))
    assert click(client, catalog, proposal, "clean ice", (20, 26))[20, 26] == ICE


def test_without_clicks_nothing_is_suggested(client, catalog, proposal):
    request = click_request(proposal.uid, 1, 1, "clean ice", SIDE)
    request["params"]["context"] = None
    response = ask(client, catalog, body(request))
    assert (response.status_code, response.get_json()) == (200, {"results": []})


def test_label_studio_can_set_it_up_and_its_token_is_not_given_back(client, catalog):
    headers = basic(USER, catalog.secrets.interactive_password)
    assert client.get(HEALTH, headers=headers).get_json() == {"status": "UP"}
    answer = client.post(SETUP, json={"project": "1.17", "access_token": "0123456789abcdef"}, headers=headers)
    assert (answer.status_code, answer.get_json()) == (200, {"model_version": "clicks"})


@pytest.mark.parametrize("address", [HEALTH, SETUP, PREDICT])
def test_only_label_studio_s_password_opens_it(client, catalog, address):
    secrets = catalog.secrets
    for headers in (
        {},
        as_role(catalog, "operator"),
        basic(USER, secrets.operator_token),
        basic("somebody", secrets.interactive_password),
        basic(USER, ""),
    ):
        response = client.open(address, method="GET" if address == HEALTH else "POST", headers=headers)
        assert_problem(response, 401)


def test_its_password_opens_nothing_else(client, catalog):
    assert_problem(client.get("/api/v1/scenes", headers=basic(USER, catalog.secrets.interactive_password)), 401)


def test_a_body_beyond_the_limit_is_refused_before_it_is_parsed(catalog, proposal):
    small = Settings(**{**catalog.settings.model_dump(), "webhook_max_bytes": 1000})
    limited = Catalog(small)
    response = ask(create_app(limited).test_client(), limited, b"[" * 1001)
    limited.close()
    assert response.status_code == 413


def test_it_is_closed_unless_the_setting_opens_it(catalog):
    closed = Catalog(Settings(**{**catalog.settings.model_dump(), "interactive_clicks": False}))
    response = ask(create_app(closed).test_client(), closed, body(click_request("uid", 1, 1, "clean ice", SIDE)))
    closed.close()
    assert_problem(response, 409, "interactive_clicks = true")


def test_a_task_that_is_not_ours_is_not_found(client, catalog, caplog):
    assert_problem(ask(client, catalog, body(click_request("uid", 1, 1, "clean ice", SIDE))), 404, "'uid'")
    assert "clicks are not answered: found a task with the proposal 'uid'" in caplog.text


def test_a_withdrawn_proposal_is_not_mended(client, catalog, proposal):
    with catalog.database.write() as session:
        session.get_one(Proposal, proposal.id).state = ProposalState.WITHDRAWN
    assert_problem(ask(client, catalog, body(click_request(proposal.uid, 1, 1, "clean ice", SIDE))), 409, "withdrawn")


def test_a_patch_whose_bands_are_not_stored_is_not_mended(client, catalog, proposal, caplog):
    raster_store(catalog).delete(raster_keys.bands(proposal.patch_id))
    response = ask(client, catalog, body(click_request(proposal.uid, 1, 1, "clean ice", SIDE)))
    assert_problem(response, 409, "are not stored")
    assert "clicks are not answered: the bands of patch" in caplog.text


def test_a_click_on_an_image_of_another_size_is_refused_and_logged(client, catalog, proposal, caplog):
    response = ask(client, catalog, body(click_request(proposal.uid, 1, 1, "clean ice", 512)))
    assert_problem(response, 422, "'original_width': 512")
    assert "clicks cannot be read" in caplog.text


def test_without_redis_it_says_so(catalog, proposal):
    down = Catalog(Settings(**{**catalog.settings.model_dump(), "redis_url": NO_REDIS}))
    response = ask(create_app(down).test_client(), down, body(click_request(proposal.uid, 1, 1, "clean ice", SIDE)))
    down.close()
    assert_problem(response, 503, "Redis")


def test_a_click_beside_an_earlier_one_of_another_class_overrides_it():
    """As if the earlier one had been taken back."""
    bands, shown = np.zeros((1, 64, 64), np.float32), np.zeros((64, 64), np.uint8)
    mistaken, right = PlacedClick(DEBRIS, 30, 30), PlacedClick(ICE, 31, 29)
    np.testing.assert_array_equal(mend(bands, shown, [mistaken, right], 3), mend(bands, shown, [right], 3))
    apart = mend(bands, shown, [mistaken, PlacedClick(ICE, 33, 30)], 3)
    assert (apart[30, 30], apart[33, 30]) == (DEBRIS, ICE)


@pytest.mark.parametrize("shown_beyond", [UNKNOWN, 0], ids=["with proposal", "without"])
def test_where_there_is_no_data_nothing_is_painted(shown_beyond):
    shown = np.zeros((SIDE, SIDE), np.uint8)
    shown[:, 16:] = shown_beyond
    bands = np.ones((1, SIDE, SIDE), np.float32)
    bands[:, :, 16:] = np.nan
    mended = mend(bands, shown, [PlacedClick(ICE, 16, 14)], 3)
    assert (mended[:, 16:] == 0).all()
    assert (mended[10:20, 8:16] == ICE).all()
    without_effect = PlacedClick(DEBRIS, 16, 17)
    np.testing.assert_array_equal(mend(bands, shown, [PlacedClick(ICE, 16, 14), without_effect], 3), mended)
