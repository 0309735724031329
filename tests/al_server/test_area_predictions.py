"""Predictions of an area that somebody names, over HTTP, with the job that makes them."""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import rasterio
from flask.testing import FlaskClient
from rasterio.io import MemoryFile
from werkzeug.test import TestResponse

from catalog import failures, jobs, prediction_uses, set_aside
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Scene, now
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of
from services.sent_uploads import abandoned_uploads
from services.stored_files import orphans
from services.unused_predictions import remove_unused
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.forge import BAND_NAMES, write_geotiff
from tests.served_version import add_version, serve
from tests.workers.few_handles import few_handles
from tests.workers.rows import champion, tiled
from workers import predict_area as job_module
from workers.jobs import perform
from workers.mend_files import mend

WINDOW = Window(16, 32, 48, 64)
URL = "/api/v1/predict"


@pytest.fixture
def scene(catalog: Catalog, tmp_path: Path) -> Scene:
    return tiled(catalog, tmp_path / "scene.tif", nodata_columns=20)[0]


@pytest.fixture
def version(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained network that finds ice and other ground is served."""
    loaded = champion(seed=1)
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "card.json").write_text(loaded.card.model_dump_json())
    for name in ("weights.safetensors", "model.onnx"):
        (folder / name).write_bytes(b"not asked for here")
    add_version(catalog, 1, folder)
    serve(catalog, 1)
    monkeypatch.setattr(job_module, "load_version", lambda _, number: {1: loaded}[number])


@pytest.fixture
def send(client: FlaskClient, catalog: Catalog) -> Callable[..., TestResponse]:
    """Send a GeoTIFF, as a reader."""

    def post(content: bytes, query: str = "", kind: str = "image/tiff") -> TestResponse:
        headers = {**as_role(catalog, "reader"), "Content-Type": kind}
        return client.post(f"{URL}{query}", data=content, headers=headers)

    return post


def of_window(scene: Scene, **changes: Any) -> dict[str, Any]:
    place = {"row_off": WINDOW.row_off, "col_off": WINDOW.col_off, "height": WINDOW.height, "width": WINDOW.width}
    return {"scene_id": scene.id, "window": {**place, **changes}}


def cropped(
    scene: Scene, folder: Path, names: tuple[str, ...] | None = BAND_NAMES, *, as_reflectance: bool = False
) -> bytes:
    """Return the window of the scene as a GeoTIFF, with the names of its bands or without."""
    source = SceneSource.from_json(scene.source)
    with rasterio.open(source.bands[0].path) as file:
        pixels = file.read(window=((16, 64), (32, 96)))
        nodata = file.nodata
    grid = source.grid.subgrid(WINDOW)
    path = folder / "part.tif"
    pixels = (pixels / 255).astype(np.float32) if as_reflectance else pixels
    write_geotiff(path, pixels, transform=grid.transform, crs=grid.crs, nodata=nodata)
    if names is not None:
        with rasterio.open(path, "r+") as file:
            file.descriptions = names
    return path.read_bytes()


def work(catalog: Catalog, uid: str) -> Job:
    """Do the job of a prediction, as a worker would; return it as it ended."""
    with catalog.database.write() as session:
        found = jobs.last_of(session, JobKind.PREDICT_AREA, uid)
        assert found is not None
        claimed = jobs.claim(session, found.id)
    assert claimed is not None
    perform(catalog, claimed)
    with catalog.read() as session:
        return session.get_one(Job, claimed.id)


def class_map(client: FlaskClient, catalog: Catalog, url: str) -> tuple[np.ndarray, Any]:
    answer = client.get(url, headers=as_role(catalog, "reader"))
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.data) as memory, memory.open() as file:
        return file.read(1), file.transform


@pytest.mark.usefixtures("version")
def test_a_window_and_the_same_ground_as_a_file_are_mapped_alike(
    client: FlaskClient, catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    reader = as_role(catalog, "reader")
    asked = client.post(URL, json=of_window(scene), headers=reader)
    sent = send(cropped(scene, tmp_path), "?name=mine")
    maps = []
    for answer in (asked, sent):
        assert (answer.status_code, answer.json["version"], answer.json["files"]) == (202, 1, {}), answer.text
        job = work(catalog, answer.json["id"])
        assert job.error is None
        described = client.get(answer.headers["Location"], headers=reader).json
        assert set(described["files"]) == {"tif", "confidence.tif", "geojson", "gpkg", "shp.zip", "areas.json"}
        maps.append(class_map(client, catalog, described["files"]["tif"]))
        outlines = client.get(described["files"]["geojson"], headers=reader)
        assert json.loads(outlines.data)["features"]
        assert f'"{described["name"]}-v1.geojson"' in outlines.headers["Content-Disposition"]
    (classes, transform), (of_file, same_transform) = maps
    np.testing.assert_array_equal(classes, of_file)
    assert len(np.unique(classes)) > 1  # or equal maps would say nothing
    assert transform == same_transform == SceneSource.from_json(scene.source).grid.subgrid(WINDOW).affine
    assert classes.shape == WINDOW.shape
    assert (sent.json["name"], asked.json["name"]) == ("mine", f"{scene.name}-16-32")
    assert [key for key in raster_store(catalog).all_keys() if key.startswith("uploads/")] == []


@pytest.mark.usefixtures("version")
def test_a_lack_of_memory_does_not_lose_the_file_that_was_sent(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send(cropped(scene, tmp_path))

    def without_memory(*_: object) -> NoReturn:
        raise SceneError("part.tif cannot be read: out of memory")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(job_module, "write_prediction", without_memory)
        assert work(catalog, sent.json["id"]).state is JobState.QUEUED
    assert work(catalog, sent.json["id"]).state is JobState.FINISHED


@pytest.mark.usefixtures("version")
def test_bands_that_the_file_does_not_name_are_named(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    content = cropped(scene, tmp_path, names=None)
    refused = work(catalog, send(content).json["id"])
    assert refused.error is not None
    assert "band" in refused.error
    job = work(catalog, send(content, f"?bands={','.join(BAND_NAMES)}").json["id"])
    assert job.error is None


@pytest.mark.usefixtures("version")
def test_a_file_that_the_version_cannot_map_is_refused_with_the_reason(
    client: FlaskClient, catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    fractions = cropped(scene, tmp_path, as_reflectance=True)
    for content, query, says in (
        (cropped(scene, tmp_path), "?bands=red,green,blue,swir1", "found no nir in the scene; expected the channels"),
        (fractions, "?unit=reflectance", "found reflectance in red, green, blue, nir; expected digital number"),
    ):
        uid = send(content, query).json["id"]
        job = work(catalog, uid)
        assert job.error is not None
        assert says in job.error
        assert str(tmp_path) not in job.error
        refused = client.get(f"{URL}/{uid}/tif", headers=as_role(catalog, "reader"))
        assert (refused.status_code, refused.json["detail"]) == (409, f"the prediction is failed; {job.error}")
    assert [key for key in raster_store(catalog).all_keys() if key.startswith("uploads/")] == []


@pytest.mark.usefixtures("version")
def test_a_file_stays_for_the_next_attempt_while_file_handles_are_lacking(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = send(cropped(scene, tmp_path)).json["id"]

    def write_without_handles(_: object, __: object, sent: Scene, *___: object) -> None:
        with few_handles():
            SceneReader(source_of(sent)).__enter__()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(job_module, "write_prediction", write_without_handles)
        waits = work(catalog, uid)
    assert waits.state is JobState.QUEUED
    assert "Too many open files" in (waits.error or "")
    done = work(catalog, uid)
    assert (done.state, done.error) == (JobState.FINISHED, None)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("content", "query", "kind", "status", "says"),
    [
        (b"no picture", "", "image/tiff", 422, "10 bytes that are no TIFF"),
        (b"", "", "image/tiff", 422, "0 bytes"),
        (b"II*\0", "", "text/plain", 415, "expected 'image/tiff' or 'application/json'"),
        (b"II*\0", "?version=7", "image/tiff", 404, "version 7"),
        (b"II*\0", "?name=../../etc", "image/tiff", 422, "name"),
        (b"II*\0", "?bands=", "image/tiff", 422, "bands"),
        (b"{}", "", "application/json", 422, "scene_id"),
        (b"[]", "", "application/json", 422, "expected a JSON object"),
    ],
)
def test_what_is_neither_a_geotiff_nor_a_window_is_refused(
    send: Callable[..., TestResponse], content: bytes, query: str, kind: str, status: int, says: str
) -> None:
    assert_problem(send(content, query, kind), status, says)


@pytest.mark.usefixtures("version")
def test_a_window_lies_inside_of_its_scene(client: FlaskClient, catalog: Catalog, scene: Scene) -> None:
    reader = as_role(catalog, "reader")
    beyond = client.post(URL, json=of_window(scene, width=1000), headers=reader)
    assert_problem(beyond, 422, "expected it inside")
    unknown = client.post(URL, json={**of_window(scene), "scene_id": 99}, headers=reader)
    assert_problem(unknown, 404, "no scene 99")
    assert_problem(client.get(f"{URL}/{'0' * 32}", headers=reader), 404, "no prediction")


@pytest.mark.usefixtures("version")
def test_a_file_may_be_larger_than_other_bodies_but_not_without_bound(
    catalog: Catalog, send: Callable[..., TestResponse]
) -> None:
    content = b"II*\0" + bytes(2 * catalog.settings.request_max_bytes)
    answer = send(content)
    assert answer.status_code == 202
    assert "area.tif" in str(work(catalog, answer.json["id"]).error)  # no raster is in there
    assert_problem(send(b"II*\0" + bytes(catalog.settings.upload_max_bytes)), 413)


@pytest.mark.usefixtures("version")
def test_an_attempt_that_was_killed_at_its_very_end_is_done(
    client: FlaskClient, catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    """Its files are there, the GeoTIFF is not any more, and the job is tried again."""
    uid = send(cropped(scene, tmp_path)).json["id"]
    job = work(catalog, uid)
    with catalog.database.write() as session:
        session.get_one(Job, job.id).state = JobState.QUEUED
    assert work(catalog, uid).state is JobState.FINISHED
    assert client.get(f"{URL}/{uid}/tif", headers=as_role(catalog, "reader")).status_code == 200


@pytest.mark.usefixtures("version")
def test_a_file_whose_prediction_is_cancelled_is_removed(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    first, second = (send(cropped(scene, tmp_path)).json for _ in range(2))
    with catalog.database.write() as session:
        failures.cancel(session, first["job"]["id"])
    store = raster_store(catalog)
    with catalog.read() as session:
        assert abandoned_uploads(session, store, store.all_keys()) == [raster_keys.upload(first["id"])]
    mend(catalog, lambda *_: None)
    left = [key for key in store.all_keys() if key.startswith("uploads/")]
    assert left == [raster_keys.upload(second["id"])]


@pytest.mark.usefixtures("version")
def test_a_damaged_file_is_set_aside_until_its_job_says_that_it_has_to_be_sent_again(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    uid = send(cropped(scene, tmp_path)).json["id"]
    key, store = raster_keys.upload(uid), raster_store(catalog)
    Path(store.uri(key)).write_bytes(b"another file")
    assert not store.exists(key)
    mend(catalog, lambda *_: None)
    assert (store.damaged(), names_aside(catalog)) == ([key], [key])
    job = work(catalog, uid)
    assert job.state is JobState.FAILED
    assert "the file that was sent is damaged, or not kept any more" in (job.error or "")
    mend(catalog, lambda *_: None)
    assert (store.damaged(), names_aside(catalog)) == ([], [])


@pytest.mark.usefixtures("version")
def test_a_file_that_its_job_finds_damaged_has_to_be_sent_again(
    catalog: Catalog, scene: Scene, send: Callable[..., TestResponse], tmp_path: Path
) -> None:
    uid = send(cropped(scene, tmp_path)).json["id"]
    store = raster_store(catalog)
    Path(store.uri(raster_keys.upload(uid))).write_bytes(b"another file")
    job = work(catalog, uid)
    assert (job.state, (job.error or "").endswith("send it again")) == (JobState.FAILED, True)
    mend(catalog, lambda *_: None)
    assert (store.damaged(), names_aside(catalog)) == ([], [])


def names_aside(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        return [row.name for row in set_aside.standing(session)]


def test_a_file_that_no_job_names_is_removed_after_a_day(catalog: Catalog) -> None:
    """A request was killed between storing the file and noting its job."""
    store = raster_store(catalog)
    old, new = raster_keys.upload("a" * 32), raster_keys.upload("b" * 32)
    for key, hours in ((old, 24.1), (new, 23.9)):
        store.put(key, b"II*")
        stored = time.time() - 3600 * hours
        os.utime(store.uri(key), (stored, stored))
    mend(catalog, lambda *_: None)
    assert store.all_keys() == [new]


@pytest.mark.usefixtures("version")
def test_no_more_are_taken_on_than_may_wait(client: FlaskClient, catalog: Catalog, scene: Scene) -> None:
    reader = as_role(catalog, "reader")
    answers = [
        client.post(URL, json=of_window(scene), headers=reader) for _ in range(catalog.settings.predictions_at_once + 1)
    ]
    assert [answer.status_code for answer in answers[:-1]] == [202] * catalog.settings.predictions_at_once
    assert_problem(answers[-1], 503, "predictions_at_once")
    assert answers[-1].headers["Retry-After"] == "30"


@pytest.mark.usefixtures("version")
def test_files_that_nobody_uses_are_removed(client: FlaskClient, catalog: Catalog, scene: Scene) -> None:
    reader = as_role(catalog, "reader")
    uid = client.post(URL, json=of_window(scene), headers=reader).json["id"]
    work(catalog, uid)
    store = raster_store(catalog)
    mine = [key for key in store.all_keys() if uid in key]
    assert len(mine) == 6
    with catalog.read() as session:
        assert orphans(session, store, mine) == []
        assert orphans(session, store, ["predictions/area-0/version-1.tif", f"uploads/{uid}.tif"]) == [
            "predictions/area-0/version-1.tif",
            f"uploads/{uid}.tif",
        ]
    assert remove_unused(catalog, store.all_keys()) == []
    with catalog.database.write() as session:
        long_ago = now() - timedelta(days=catalog.settings.prediction_keep_days + 1)
        for use in session.query(prediction_uses.PredictionUse):
            use.used_at = long_ago
    assert remove_unused(catalog, store.all_keys()) == [f"predictions/area-{uid}/version-1"]
    gone = client.get(f"{URL}/{uid}/tif", headers=reader)
    assert_problem(gone, 404, "ask for it anew")
