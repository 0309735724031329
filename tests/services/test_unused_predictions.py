"""Predictions that nobody uses are removed after a time, and made again for whoever asks."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from catalog import jobs, prediction_uses, registry_copy
from catalog.context import Catalog
from catalog.prediction_uses import PredictionUse
from catalog.records import JobKind, Scene, now
from catalog.registry import ModelVersion
from imagery.grid import Grid
from services import unused_predictions
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.raster_keys import prediction_of
from services.scenes import source_of
from services.unused_predictions import note_use, remove_unused
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.services.predicting import store_prediction

VERSIONS = (1, 2, 3, 4)
CHAMPION, NEWEST = 2, 4


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    """A scene that four versions have predicted; the second is served."""
    unused_predictions._noted.clear()
    catalog.settings = catalog.settings.model_copy(update={"prediction_keep_days": 10.0})
    with catalog.write() as session:
        scene, _ = add_scene(session)
        versions = [ModelVersion(number, "", now(), {}) for number in VERSIONS]
        registry_copy.store(session, versions)
        registry_copy.set_aliases(session, {"champion": CHAMPION})
    grid: Grid = source_of(scene).grid
    for version in VERSIONS:
        store_prediction(catalog, scene, np.ones((grid.height, grid.width), np.uint8), version)
    return scene


def prediction(catalog: Catalog, scene: Scene, version: int) -> str:
    found = prediction_of(prediction_keys(scene, version, delivery_options(catalog.settings))["tif"])
    assert found is not None
    return found


def used(catalog: Catalog, scene: Scene, version: int, days_ago: float) -> None:
    with catalog.database.write() as session:
        prediction_uses.note(session, prediction(catalog, scene, version))
        session.get_one(PredictionUse, prediction(catalog, scene, version)).used_at = now() - timedelta(days=days_ago)


def clean(catalog: Catalog) -> list[str]:
    return remove_unused(catalog, raster_store(catalog).all_keys())


def test_only_what_is_neither_used_nor_in_use_is_removed(catalog: Catalog, scene: Scene) -> None:
    assert clean(catalog) == []  # nothing is known of their use: the time begins now
    for version in (1, CHAMPION, NEWEST):
        used(catalog, scene, version, days_ago=11)
    used(catalog, scene, 3, days_ago=9)
    assert clean(catalog) == [prediction(catalog, scene, 1)]
    left = {prediction_of(key) for key in raster_store(catalog).all_keys()}
    assert left == {prediction(catalog, scene, version) for version in (CHAMPION, 3, NEWEST)}
    catalog.settings = catalog.settings.model_copy(update={"prediction_keep_days": 0.0})
    used(catalog, scene, 3, days_ago=1000)
    assert clean(catalog) == []


def test_a_use_begins_the_time_anew(catalog: Catalog, scene: Scene) -> None:
    used(catalog, scene, 1, days_ago=11)
    note_use(catalog, f"{prediction(catalog, scene, 1)}.shp.zip")
    note_use(catalog, "scenes/1/truth.tif")  # no prediction
    assert clean(catalog) == []
    with catalog.read() as session:
        assert now() - session.get_one(PredictionUse, prediction(catalog, scene, 1)).used_at < timedelta(minutes=1)


def test_what_a_job_makes_is_not_removed(catalog: Catalog, scene: Scene) -> None:
    used(catalog, scene, 1, days_ago=11)
    with catalog.write() as session:
        job = jobs.enqueue(session, JobKind.PREDICT_SCENE, "a", scene_id=scene.id, version=1)
    assert clean(catalog) == []
    with catalog.write() as session:
        jobs.request_cancel(session, job.id)
    assert len(clean(catalog)) == 1


def test_what_was_removed_is_asked_for_again(catalog: Catalog, scene: Scene, client: FlaskClient) -> None:
    address, reader = f"/api/v1/scenes/{scene.id}/prediction.gpkg?version=1", as_role(catalog, "reader")
    assert client.get(address, headers=reader).status_code == 200
    used(catalog, scene, 1, days_ago=11)
    assert len(clean(catalog)) == 1
    assert client.get(address, headers=reader).status_code == 202
    (Path(catalog.settings.raster_store) / f"{prediction(catalog, scene, 3)}.gpkg").write_bytes(b"damaged")
    damaged = client.get(address.replace("=1", "=3"), headers=reader)
    assert (damaged.status_code, damaged.get_json()["kind"]) == (202, "predict_scene")


def test_readers_cannot_fill_the_queue(catalog: Catalog, scene: Scene, client: FlaskClient) -> None:
    catalog.settings = catalog.settings.model_copy(update={"predictions_at_once": 2, "outline_smoothing_px": 1.0})
    reader = as_role(catalog, "reader")
    answers = [client.get(f"/api/v1/scenes/{scene.id}/prediction.tif?version={n}", headers=reader) for n in VERSIONS]
    assert [answer.status_code for answer in answers] == [202, 202, 503, 503]
    assert_problem(answers[2], 503, "2 predictions wait or run", "predictions_at_once")
    assert answers[2].headers["Retry-After"] == "30"
    again = client.get(f"/api/v1/scenes/{scene.id}/prediction.tif?version=1", headers=reader)
    assert again.get_json()["id"] == answers[0].get_json()["id"]  # who waits may go on asking
    with catalog.write() as session:
        jobs.request_cancel(session, answers[0].get_json()["id"])
    assert client.get(f"/api/v1/scenes/{scene.id}/prediction.tif?version=3", headers=reader).status_code == 202
