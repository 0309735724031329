"""Scenes whose files lie on another machine: a job reads them, and what requests read of them has a deadline."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from al_server.turns import FAR_READS
from catalog import failures, jobs
from catalog.context import Catalog
from catalog.records import JobState, Scene, SceneState
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.units import REFLECTANCE, Level
from services.scenes import source_of
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.range_server import bytes_sent, serve
from tests.imagery.test_products_stac import item, sentinel
from workers.jobs import perform


@dataclass(frozen=True)
class Far:
    """A web server with a Sentinel-2 item, and the client of an operator.

    Attributes:
        address: Of the server.
        log: Bytes that it sent.
        client: A test client.
        catalog: The catalog.
        folder: What is served.
    """

    address: str
    log: Path
    client: FlaskClient
    catalog: Catalog
    folder: Path

    def post(self, **changes: Any) -> TestResponse:
        body = {"role": "pool", "path": f"{self.address}/item.json", "name": "far", "patch_size_px": 32, **changes}
        return self.client.post("/api/v1/scenes", json=body, headers=as_role(self.catalog, "operator"))

    def put(self, scene_id: int, **changes: Any) -> TestResponse:
        body = {"role": "pool", "path": f"{self.address}/item.json", **changes}
        return self.client.put(f"/api/v1/scenes/{scene_id}", json=body, headers=as_role(self.catalog, "operator"))

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=as_role(self.catalog, "operator"))

    def outcome(self, response: TestResponse) -> Any:
        """Do the job of a request, and return the request as it is then."""
        assert response.status_code == 202, response.text
        waiting = response.get_json()
        assert (waiting["scene"], waiting["request"]["state"]) == (None, "waiting")
        do(self.catalog, waiting["job"]["id"])
        assert self.get(f"/api/v1/jobs/{waiting['job']['id']}").get_json()["state"] == "finished"
        return self.get(response.headers["Location"]).get_json()


def do(catalog: Catalog, job_id: str) -> None:
    with catalog.write() as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    perform(catalog, job)


@pytest.fixture
def far(tmp_path: Path, catalog: Catalog, app: Flask) -> Iterator[Far]:
    folder = tmp_path / "far"
    folder.mkdir()
    assets = sentinel(folder, add=1000, raster={"nodata": 0, "scale": 0.0001, "offset": -0.1})
    (folder / "item.json").write_text(item(assets, platform="sentinel-2a"))
    with serve(folder, tmp_path / "log") as address:
        catalog.settings = catalog.settings.model_copy(update={"scene_hosts": [urlsplit(address).netloc]})
        yield Far(address, tmp_path / "log", app.test_client(), catalog, folder)


def scenes(catalog: Catalog) -> list[Scene]:
    with catalog.read() as session:
        return list(session.query(Scene).where(Scene.state != SceneState.REMOVED).order_by(Scene.id))


def test_a_scene_at_an_address_is_registered_by_a_job_and_replaced_by_another(far: Far) -> None:
    accepted = far.post()
    assert bytes_sent(far.log) == 0  # the request fetched nothing
    found = far.outcome(accepted)
    assert (found["state"], found["fault"], found["summary"]["name"]) == ("done", None, "far")
    (scene,) = scenes(far.catalog)
    assert found["outcome"]["scene_id"] == scene.id
    assert far.get(f"/api/v1/jobs/{found['outcome']['job_id']}").get_json()["kind"] == "tile_scene"
    source = source_of(scene)
    assert {band.path.partition("/B")[0] for band in source.bands} == {f"/vsicurl/{far.address}"}
    assert (source.level, source.bands[0].unit) == (Level.SURFACE, REFLECTANCE)
    with SceneReader(source) as reader:
        assert np.isfinite(reader.read(["ndsi"], Window(40, 40, 8, 8))).all()

    found = far.outcome(far.put(scene.id, unit="digital number", patch_size_px=32))
    assert (found["state"], found["replaces"]) == ("done", scene.id)
    (renewed,) = scenes(far.catalog)
    assert (renewed.id, renewed.name) == (found["outcome"]["scene_id"], "far")
    assert source_of(renewed).bands[0].unit == "digital number"
    assert_problem(far.put(99), 404)  # what needs no other machine is said at once


def test_a_dry_run_says_what_was_understood_and_stores_nothing(far: Far, tmp_path: Path) -> None:
    found = far.outcome(far.post(dry_run=True))
    assert (found["state"], found["dry_run"], found["outcome"]) == ("done", True, None)
    assert (found["summary"]["sensor"], found["summary"]["level"]) == ("sentinel-2-msi", "surface")
    assert scenes(far.catalog) == []


def test_an_item_of_this_machine_that_leads_to_another_is_left_to_a_job(far: Far) -> None:
    root = far.catalog.settings.scene_root
    root.mkdir(parents=True, exist_ok=True)
    document = json.loads((far.folder / "item.json").read_text())
    for asset in document["assets"].values():
        asset["href"] = f"{far.address}/{asset['href'].rpartition('/')[2]}"
    (root / "item.json").write_text(json.dumps(document))
    accepted = far.post(path="item.json")
    assert bytes_sent(far.log) == 0
    assert far.outcome(accepted)["state"] == "done"


def test_what_is_refused_says_why_and_is_no_failure_of_the_job(far: Far) -> None:
    assert "found the answer 404" in far.outcome(far.post(path=f"{far.address}/nothing.json"))["fault"]
    far.outcome(far.post())
    again = far.outcome(far.post())
    assert (again["state"], again["summary"], again["outcome"]) == ("refused", None, None)
    assert "a scene named 'far' is registered already" in again["fault"]
    elsewhere = far.post(path="http://192.0.2.1/item.json")
    assert_problem(elsewhere, 422, "found the host '192.0.2.1'", "GLACIER_AL_SCENE_HOSTS")
    reader = far.client.get(f"/api/v1/scenes/requests/{again['id']}", headers=as_role(far.catalog, "reader"))
    assert_problem(reader, 403)  # addresses may carry a key
    assert_problem(far.get("/api/v1/scenes/requests/99"), 404, "no request 99")


def test_a_request_ends_with_its_job_and_waits_again_with_it(far: Far) -> None:
    accepted = far.post().get_json()
    address, job_id = f"/api/v1/scenes/requests/{accepted['request']['id']}", accepted["job"]["id"]
    with far.catalog.write() as session:
        failures.cancel(session, job_id)
    assert (far.get(address).get_json()["state"], scenes(far.catalog)) == ("refused", [])
    with far.catalog.write() as session:
        failures.retry(session, job_id)
    assert far.get(address).get_json()["state"] == "waiting"
    do(far.catalog, job_id)
    assert far.get(address).get_json()["state"] == "done"
    with far.catalog.write() as session:  # as if its end had not been noted
        jobs.get(session, job_id).state = JobState.QUEUED
    do(far.catalog, job_id)
    assert len(scenes(far.catalog)) == 1


def test_a_machine_that_is_silent_holds_no_request_up(far: Far, settings: Any) -> None:
    """The map shows what another machine sends in time; of one that is silent, the request ends at its deadline."""
    scene_id = far.outcome(far.post())["outcome"]["scene_id"]
    with far.catalog.write() as session:
        scene = session.get_one(Scene, scene_id)
        scene.state, scene.stretch = SceneState.READY, {}
        sound = scene.source
    window = f"/api/v1/scenes/{scene_id}/bands/window?row_off=40&col_off=40&height=8&width=8"
    assert np.isfinite(np.frombuffer(far.get(window).data, "<f4")).all()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with far.catalog.write() as session:
            session.get_one(Scene, scene_id).source = json.loads(json.dumps(sound).replace(far.address, address))
        far.client.application.extensions["parts"].far_reader._limit_s = 0.5
        started = time.monotonic()
        assert_problem(far.get(window), 504, "within 0.5 s", "far_read_timeout_s")
        assert time.monotonic() - started < 5
        hosts = far.catalog.settings.model_copy(update={"scene_hosts": [urlsplit(address).netloc]})
        far.catalog.settings = hosts
        started = time.monotonic()
        assert far.post(path=f"{address}/item.json", name="silent").status_code == 202
        assert time.monotonic() - started < 5
    far.client.application.extensions["parts"].far_reader._limit_s = 20
    with far.catalog.write() as session:
        session.get_one(Scene, scene_id).source = sound
    assert far.get(window).status_code == 200  # another helper has taken its place
    with FAR_READS.required("tests"), FAR_READS.required("tests"):
        assert_problem(far.get(window), 503, "2 reads from other machines are being answered")
