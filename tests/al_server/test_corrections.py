"""Corrections on the map over HTTP: windows to draw on, what is submitted, and what is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import EventState, Job, JobKind, JobState, LabelEvent, Scene, SceneRole
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from imagery.scene_source import SceneSource
from services import corrections, raster_keys
from services.corrections import CorrectedPatch, decode_runs, encode_runs
from services.places import raster_store
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene

UNKNOWN = 255


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    return forge_scene(tmp_path / "scene.tif")


@pytest.fixture
def scene_id(catalog: Catalog, forged: ForgedScene) -> int:
    """A scene of 100 rows and 160 columns with patches of 32 px, and its old outlines, the map to begin with."""
    return scene_of(catalog, forged)


def scene_of(catalog: Catalog, forged: ForgedScene, role: SceneRole = SceneRole.POOL) -> int:
    with catalog.write() as session:
        scene, _ = add_scene(session, role=role)
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        scene.stretch = {band.name: [0.0, 255.0] for band in forged.bands}
        number = scene.id
    raster_store(catalog).put(raster_keys.prior(number), mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME))
    return number


def correction(classes: np.ndarray, row_off: int = 0, col_off: int = 0, **changes: Any) -> dict[str, Any]:
    height, width = classes.shape
    body = {"id": str(uuid4()), "row_off": row_off, "col_off": col_off, "height": height, "width": width}
    runs = encode_runs(classes.astype(np.uint8))
    return body | {"runs": runs, "shown": {"layer": "prior"}, "seconds": 60.0} | changes


def submit(client: FlaskClient, catalog: Catalog, scene_id: int, body: dict[str, Any], role: str = "annotator"):
    return client.post(f"/api/v1/scenes/{scene_id}/corrections", json=body, headers=as_role(catalog, role))


def test_runs_hold_the_classes_row_by_row():
    classes = np.array([[0, 0, 1], [1, 2, 255]], dtype=np.uint8)
    assert encode_runs(classes) == [0, 2, 1, 2, 2, 1, 255, 1]
    np.testing.assert_array_equal(decode_runs(encode_runs(classes), 2, 3, GLACIER_SCHEME), classes)


def test_a_window_of_a_map_has_the_values_of_its_pixels(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    path = f"/api/v1/scenes/{scene_id}/maps/prior/window?row_off=10&col_off=20&height=40&width=50"
    found = client.get(path, headers=as_role(catalog, "reader"))
    values = np.frombuffer(found.data, dtype=np.uint8).reshape(40, 50)
    np.testing.assert_array_equal(values, forged.truth[10:50, 20:70])


def test_bands_and_superpixels_of_a_window(client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene):
    reader, window = as_role(catalog, "reader"), "row_off=0&col_off=0&height=64&width=96"
    bands = client.get(f"/api/v1/scenes/{scene_id}/bands/window?{window}", headers=reader).data
    assert np.frombuffer(bands, "<f4").reshape(4, 64, 96).shape[0] == len(forged.bands)
    cut = client.get(f"/api/v1/scenes/{scene_id}/superpixels?{window}&side_px=8", headers=reader).data
    numbers = np.frombuffer(cut, "<i4").reshape(64, 96)
    truth = forged.truth[:64, :96]
    assert 20 < len(np.unique(numbers)) <= 2 * 64 * 96 / 8**2
    # The forged classes differ by far more than their noise: few superpixels lie across an edge.
    agreeing = sum(np.bincount(truth[numbers == number]).max() for number in np.unique(numbers))
    assert agreeing / truth.size > 0.97


def test_a_correction_is_an_event_for_each_patch_that_it_touches(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene
):
    classes = forged.truth[16:48, 40:72].copy()  # rows of the first and second patches, columns of the second and third
    classes[:, 28:] = UNKNOWN  # columns 68 to 71 are not judged
    classes[0, 0] = (classes[0, 0] + 1) % 3
    answer = submit(client, catalog, scene_id, correction(classes, 16, 40))
    assert answer.status_code == 202, answer.text
    assert (answer.json["judged_px"], answer.json["edited_px"]) == (32 * 28, 1)
    with catalog.read() as session:
        events = session.scalars(select(LabelEvent).order_by(LabelEvent.id)).all()
        bodies = [CorrectedPatch.model_validate_json(event.body) for event in events]
        jobs = session.scalars(select(Job).where(Job.kind == JobKind.INGEST_LABEL)).all()
    assert [event.id for event in events] == answer.json["label_events"]
    assert [job.subject["event_id"] for job in jobs] == answer.json["label_events"]
    assert {(event.origin, event.state) for event in events} == {("map", EventState.RECEIVED)}
    assert len(events) == 4  # columns 32 to 63 and 64 to 95, rows 0 to 31 and 32 to 63
    first = decode_runs(bodies[0].runs, 32, 32, GLACIER_SCHEME)
    np.testing.assert_array_equal(first[16:, 8:], classes[:16, :24])
    assert (first[:16] == UNKNOWN).all()
    assert (first[:, :8] == UNKNOWN).all()
    # 24 and 4 of 28 columns, each in two halves of the rows, of 60 seconds.
    assert [body.share for body in bodies] == pytest.approx([60 * 12 / 28, 60 * 2 / 28] * 2)
    assert bodies[0].correction.annotator == "annotator"


def test_what_is_submitted_twice_is_one_correction(client: FlaskClient, catalog: Catalog, scene_id: int):
    body = correction(np.ones((20, 20)))
    first, again = (submit(client, catalog, scene_id, body) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json == again.json
    other = submit(client, catalog, scene_id, body | {"runs": [2, 400]})
    assert_problem(other, 409)
    assert "another correction was submitted under the id" in other.json["detail"]


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"runs": [1, 399]}, 422, "found runs of 399 pixels"),
        ({"runs": [1, 2147483647, 1, 1]}, 422, "found runs of 2147483648 pixels"),
        ({"runs": [1, 200, 7, 200]}, 422, "found the class values [7]"),
        ({"runs": [1, 200, 1]}, 422, "found 3 numbers"),
        ({"runs": [255, 400]}, 422, "found no judged pixel"),
        ({"row_off": 90}, 422, "expected one inside the scene's 100 rows x 160 columns"),
        ({"height": 1025}, 422, "height"),
        ({"id": "mine"}, 422, "id"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, changes: dict[str, Any], status: int, says: str
):
    refused = submit(client, catalog, scene_id, correction(np.ones((20, 20))) | changes)
    assert_problem(refused, status)
    assert says in refused.json["detail"]
    with catalog.read() as session:
        assert session.scalar(select(LabelEvent.id)) is None


@dataclass
class Composing:
    """Does something whenever the runs of a patch are composed."""

    meanwhile: Callable[[], None]
    times: int = 0

    def encode(self, values: NDArray[np.uint8]) -> list[int]:
        self.times += 1
        self.meanwhile()
        return encode_runs(values)


def test_others_can_write_while_a_correction_is_composed(
    client: FlaskClient, catalog: Catalog, scene_id: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("catalog.database.LOCK_TIMEOUT_S", 0.2)

    def write() -> None:
        with catalog.write() as session:
            session.add(Job(kind=JobKind.MEND_FILES, key="of another process", subject={}, state=JobState.FINISHED))

    composing = Composing(write)
    monkeypatch.setattr("services.corrections.encode_runs", composing.encode)
    body = correction(np.ones((40, 20)))
    assert submit(client, catalog, scene_id, body).status_code == 202
    assert submit(client, catalog, scene_id, body).status_code == 200
    assert composing.times == 2  # two patches; nothing is composed of what was submitted before


def test_a_correction_of_a_scene_that_is_replaced_meanwhile_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, monkeypatch: pytest.MonkeyPatch
):
    def replace() -> None:
        with catalog.write() as session:
            session.get_one(Scene, scene_id).revision += 1

    monkeypatch.setattr("services.corrections.encode_runs", Composing(replace).encode)
    refused = submit(client, catalog, scene_id, correction(np.ones((20, 20))))
    assert_problem(refused, 409, "scene 'pool' was replaced while this was received, so nothing is stored")
    with catalog.read() as session:
        assert session.scalar(select(LabelEvent.id)) is None


def test_a_correction_of_too_many_runs_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(corrections, "MOST_RUNS", 1024)
    comb = np.zeros((64, 32))
    comb[:, ::2] = 1
    refused = submit(client, catalog, scene_id, correction(comb))
    assert_problem(refused, 422, "found 2048 runs of pixels of one class in all patches; expected at most 1024")
    assert submit(client, catalog, scene_id, correction(comb[:32])).status_code == 202


@pytest.mark.parametrize("role", [SceneRole.VALIDATION, SceneRole.TEST])
def test_what_judges_models_is_not_corrected(
    client: FlaskClient, catalog: Catalog, forged: ForgedScene, role: SceneRole
):
    refused = submit(client, catalog, scene_of(catalog, forged, role), correction(np.ones((20, 20))))
    assert_problem(refused, 409)
    assert f"is a {role.value} scene: it judges models" in refused.json["detail"]


def test_a_correction_of_a_map_that_is_gone_is_kept(client: FlaskClient, catalog: Catalog, scene_id: int):
    body = correction(np.ones((20, 20)), shown={"layer": "prediction", "version": 7})
    answer = submit(client, catalog, scene_id, body)
    assert (answer.status_code, answer.json["edited_px"]) == (202, 400)  # all differ from background


def test_readers_do_not_correct(client: FlaskClient, catalog: Catalog, scene_id: int):
    assert_problem(submit(client, catalog, scene_id, correction(np.ones((20, 20))), role="reader"), 403)
