"""Data sets are asked for, listed, taken away and removed over HTTP and on their page, by operators."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import fsspec
import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete
from werkzeug.datastructures import Headers

from al_server.app import create_app
from catalog import jobs
from catalog.context import Catalog
from catalog.data_set_records import DataSet, DataSetLabel
from catalog.records import Job, JobKind, JobState, Label, Patch, SceneRole
from services import raster_keys
from services.data_sets import KnownDataSet
from services.places import raster_store
from services.scenes import window_of
from tests.al_server.test_dashboard import Page
from tests.al_server.test_error_shape import assert_problem
from tests.al_server.test_far_reading import SlowFiles
from tests.catalog_fixtures import as_role, pushed
from tests.imagery.forge import BAND_NAMES
from tests.services.judging import judge
from tests.workers.rows import patches, tiled
from workers.jobs import JobContext, perform

DATA_SETS = "/api/v1/data-sets"
NO_DATA_SET = f"{DATA_SETS}/{'0' * 32}"
TITLE = "Khumbu / Gletscher <Ötztal>"


@pytest.fixture
def judged(catalog: Catalog, tmp_path: Path) -> Patch:
    """A window that an expert has labelled."""
    scene, forged = tiled(catalog, tmp_path / "pool.tif")
    patch = next(item for item in patches(catalog, scene.id) if (item.row_off, item.col_off) == (32, 64))
    judge(catalog, patch, forged.truth[window_of(patch).slices], minute=0)
    return patch


def ask(client: FlaskClient, catalog: Catalog, **body: Any) -> Any:
    request = {"forms": ["npy"], "title": TITLE, **body}
    return client.post(DATA_SETS, json=request, headers=as_role(catalog, "operator"))


def listed(client: FlaskClient, catalog: Catalog) -> list[dict[str, Any]]:
    response = client.get(DATA_SETS, headers=as_role(catalog, "operator"))
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json
    return found


def claim(catalog: Catalog, job_id: str) -> Job:
    with catalog.write() as session:
        claimed = jobs.claim(session, job_id)
    assert claimed is not None
    return claimed


def carry_out(catalog: Catalog, job_id: str) -> Job:
    perform(catalog, claim(catalog, job_id))
    with catalog.read() as session:
        return session.get_one(Job, job_id)


def made(client: FlaskClient, catalog: Catalog, **body: Any) -> dict[str, Any]:
    """Ask for a data set, have its job done, and return how it is listed."""
    accepted = ask(client, catalog, **body)
    assert accepted.status_code == 202, accepted.text
    job = carry_out(catalog, accepted.json["id"])
    assert (job.state, job.error) == (JobState.FINISHED, None)
    return listed(client, catalog)[0]


def sent(client: FlaskClient, catalog: Catalog, address: str, **headers: str) -> tuple[int, bytes, Headers]:
    with client.get(address, headers={**as_role(catalog, "operator"), **headers}) as response:
        return response.status_code, response.data, response.headers


def page(client: FlaskClient, catalog: Catalog) -> Page:
    response = client.get("/data-sets", headers=as_role(catalog, "operator"))
    assert response.status_code == 200, response.text
    shown = Page(response.text)
    assert shown.open == []
    return shown


def test_one_is_asked_for_made_and_taken_away(client: FlaskClient, catalog: Catalog, judged: Patch) -> None:
    accepted = ask(client, catalog, licence="CC-BY-4.0", roles=["pool", "pool"], channels=["nir", "red"])
    assert (accepted.status_code, accepted.json["kind"], accepted.json["state"]) == (202, "export_dataset", "queued")
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    assert f"{accepted.json['id']}-0" in pushed(catalog)
    (waiting,) = listed(client, catalog)
    assert accepted.json["subject"] == {"uid": waiting["id"]}  # readers see jobs
    assert (waiting["contents"], waiting["file"], waiting["job"]["state"]) == (None, None, "queued")
    address = f"{DATA_SETS}/{waiting['id']}/file"
    assert_problem(client.get(address, headers=as_role(catalog, "operator")), 409, "the data set is queued")

    carry_out(catalog, accepted.json["id"])
    (found,) = listed(client, catalog)
    assert (found["title"], found["licence"], found["asked_by"]) == (TITLE, "CC-BY-4.0", "operator")
    assert (found["roles"], found["forms"], found["channels"]) == (["pool"], ["npy"], ["nir", "red"])
    contents = found["contents"]
    assert (contents["windows"], contents["labels"], contents["analysts"]) == ({"train": 1}, 1, 1)
    assert (contents["model_version"], contents["left_out"], found["file"]) == (None, [], address)
    status, data, headers = sent(client, catalog, address)
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    assert contents["size_bytes"] == len(data)
    name = f"khumbu-gletscher-otztal-{datetime.now(UTC):%Y-%m-%d}"
    assert headers["Content-Disposition"] == f"attachment; filename={name}.zip"
    with ZipFile(io.BytesIO(data)) as archive:
        about = json.loads(archive.read(f"{name}/export.json"))
        image = np.load(io.BytesIO(archive.read(f"{name}/npy/train/images/img_{judged.id:06d}.npy")))
    assert (about["title"], about["licence"], about["channels"]) == (TITLE, "CC-BY-4.0", ["nir", "red"])
    assert image.shape == (32, 32, 2)


def test_a_part_of_the_file_is_sent_so_that_a_broken_download_goes_on(
    client: FlaskClient, catalog: Catalog, judged: Patch
) -> None:
    address = made(client, catalog)["file"]
    _, whole, headers = sent(client, catalog, address)
    rest = {"Range": "bytes=100-", "If-Range": headers["ETag"]}
    assert sent(client, catalog, address, **rest)[:2] == (206, whole[100:])
    assert sent(client, catalog, address, **{"If-None-Match": headers["ETag"]})[:2] == (304, b"")
    assert sent(client, catalog, address, Range=f"bytes={len(whole)}-")[0] == 416


def test_a_store_on_another_machine_sends_it_too(
    client: FlaskClient, catalog: Catalog, judged: Patch, tmp_path: Path
) -> None:
    address = made(client, catalog)["file"]
    _, whole, _ = sent(client, catalog, address)
    fsspec.register_implementation("slow", SlowFiles, clobber=True)
    root = f"slow://{catalog.settings.raster_store}"
    catalog.settings = catalog.settings.model_copy(update={"raster_store": root})
    assert sent(create_app(catalog).test_client(), catalog, address)[:2] == (200, whole)
    assert list(tmp_path.glob("tmp*")) == []  # the copy is gone


def test_without_labels_it_is_refused_at_once(client: FlaskClient, catalog: Catalog, judged: Patch) -> None:
    assert_problem(ask(client, catalog, roles=["validation", "test"]), 409, "found no labels in scenes of the roles")
    with catalog.database.write() as session:
        session.query(Label).one().simulated = True
    refused = ask(client, catalog)
    assert_problem(refused, 409, "there are 1 of a simulated annotator: have them counted, too")
    assert listed(client, catalog) == []
    with catalog.read() as session:
        assert jobs.last_of(session, JobKind.EXPORT_DATASET) is None
    assert made(client, catalog, simulated=True)["contents"]["simulated_labels"] == 1


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ({"forms": []}, "forms"),
        ({"forms": ["shapefile"]}, "forms"),
        ({"roles": []}, "roles"),
        ({"channels": ["swir1"]}, "found no channel swir1; expected some of red"),
        ({"licence": "all rights reserved"}, "licence"),
        ({"title": ""}, "title"),
        ({"simulated": 1}, "simulated"),
        ({"folder": "/tmp/out"}, "folder"),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else None,
)
def test_what_cannot_be_made_is_refused_at_once(
    client: FlaskClient, catalog: Catalog, judged: Patch, body: dict[str, Any], fragment: str
) -> None:
    refused = assert_problem(ask(client, catalog, **body), 422)
    assert fragment in json.dumps(refused)
    assert listed(client, catalog) == []


def test_all_members_may_be_left_out(client: FlaskClient, catalog: Catalog, judged: Patch) -> None:
    accepted = client.post(DATA_SETS, json={}, headers=as_role(catalog, "operator"))
    assert accepted.status_code == 202, accepted.text
    (found,) = listed(client, catalog)
    assert (found["roles"], found["forms"]) == (["pool", "validation", "test"], ["geotiff", "npy", "stac"])
    assert (found["licence"], found["simulated"]) == ("other", False)


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_only_operators_see_them(client: FlaskClient, catalog: Catalog, judged: Patch, role: str) -> None:
    address = made(client, catalog)["file"]
    headers = as_role(catalog, role)
    for path in (DATA_SETS, address, "/data-sets"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.post(DATA_SETS, json={}, headers=headers).status_code == 403
    assert client.delete(address.removesuffix("/file"), headers=headers).status_code == 403
    for path, shown in (("/", False), ("/settings", False)):
        assert ('href="/data-sets"' in client.get(path, headers=headers).text) == shown
    assert 'href="/data-sets"' in client.get("/", headers=as_role(catalog, "operator")).text


def test_one_that_is_removed_is_gone_with_its_file(client: FlaskClient, catalog: Catalog, judged: Patch) -> None:
    found, operator = made(client, catalog), as_role(catalog, "operator")
    key = raster_keys.data_set(found["id"])
    assert raster_store(catalog).exists(key)
    removed = client.delete(f"{DATA_SETS}/{found['id']}", headers=operator)
    assert (removed.status_code, removed.json["id"], removed.json["file"]) == (200, found["id"], None)
    assert not raster_store(catalog).exists(key)
    assert listed(client, catalog) == []
    assert_problem(client.get(found["file"], headers=operator), 404, "it may have been removed")
    assert_problem(client.delete(f"{DATA_SETS}/{found['id']}", headers=operator), 404)
    assert_problem(client.get(f"{NO_DATA_SET}/file", headers=operator), 404)


def test_the_job_of_one_that_is_removed_ends(client: FlaskClient, catalog: Catalog, judged: Patch) -> None:
    operator = as_role(catalog, "operator")
    queued, running = (ask(client, catalog).json["id"] for _ in range(2))
    taken = claim(catalog, running)
    for item in listed(client, catalog):
        assert client.delete(f"{DATA_SETS}/{item['id']}", headers=operator).status_code == 200
    perform(catalog, taken)
    with catalog.read() as session:
        assert {session.get_one(Job, job_id).state for job_id in (queued, running)} == {JobState.CANCELLED}
    assert not [key for key in raster_store(catalog).all_keys() if key.startswith("data-sets/")]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"PK")], ids=["deleted", "damaged"])
def test_a_lost_file_is_said_to_be_lost(client: FlaskClient, catalog: Catalog, judged: Patch, damage: Any) -> None:
    found = made(client, catalog)
    damage(Path(catalog.settings.raster_store) / raster_keys.data_set(found["id"]))
    response = client.get(found["file"], headers=as_role(catalog, "operator"))
    assert_problem(response, 404, "missing or damaged; make the data set anew")


def test_it_is_said_how_many_of_its_labels_were_withdrawn_since(
    client: FlaskClient, catalog: Catalog, judged: Patch
) -> None:
    others = [item for item in patches(catalog, judged.scene_id) if (item.row_off, item.col_off) in {(0, 32), (64, 64)}]
    for minute, patch in enumerate(others, start=1):
        judge(catalog, patch, np.zeros((32, 32), np.uint8), minute=minute, annotator="careless@example.org")
    found = made(client, catalog)
    assert (found["contents"]["labels"], found["withdrawn_labels"]) == (3, 0)
    withdrawal = {"annotator": "careless@example.org", "reason": "drew nothing"}
    response = client.post("/api/v1/withdrawals", json=withdrawal, headers=as_role(catalog, "operator"))
    assert response.status_code == 200, response.text
    assert listed(client, catalog)[0]["withdrawn_labels"] == 2
    assert "2 of its labels were withdrawn since" in " ".join(page(client, catalog).text.split())
    anew = made(client, catalog)
    assert (anew["contents"]["labels"], anew["withdrawn_labels"]) == (1, 0)
    assert client.delete(f"{DATA_SETS}/{found['id']}", headers=as_role(catalog, "operator")).status_code == 200

    with catalog.database.write() as session:  # as an earlier release has stored it
        session.execute(delete(DataSetLabel))
    assert listed(client, catalog)[0]["withdrawn_labels"] is None
    assert "withdrawn since is not known" in " ".join(page(client, catalog).text.split())


def test_the_page_tells_of_each_and_offers_what_can_be_done(
    client: FlaskClient, catalog: Catalog, judged: Patch
) -> None:
    assert "None yet." in page(client, catalog).text
    first = made(client, catalog, licence="CC-BY-4.0")
    running = ask(client, catalog, title="the second")
    context = JobContext(catalog, claim(catalog, running.json["id"]))
    context.progress(1, 4, "writing windows: 1 of 4 windows")
    failed = ask(client, catalog, title="the third").json["id"]
    claim(catalog, failed)
    with catalog.write() as session:
        jobs.fail(session, failed, 1, "found <no> room")
    response = client.get("/data-sets", headers=as_role(catalog, "operator")).text
    text = " ".join(page(client, catalog).text.split())
    assert first["contents"]["size_bytes"] < 50_000  # so that 0.0 would be told
    assert f"{TITLE} {datetime.now(UTC):%Y-%m-%d}" in text
    for expected in (
        "operator 1 window train, 1 label CC-BY-4.0 under 0.1 made Download",
        "writing windows: 1 of 4 windows 25 %",
        "failed: found <no> room Retry",
    ):
        assert expected in text
    assert response.count('data-call="DELETE /api/v1/data-sets/') == 3
    assert f'href="{first["file"]}" download' in response
    assert f'data-call="POST /api/v1/jobs/{failed}/retry"' in response


def test_the_dialog_offers_the_channels_of_the_scenes(
    client: FlaskClient, catalog: Catalog, judged: Patch, tmp_path: Path
) -> None:
    tiled(catalog, tmp_path / "test.tif", SceneRole.TEST, offset_px=200)
    dialog = client.get("/data-sets", headers=as_role(catalog, "operator")).text.partition('<dialog id="make"')[2]
    for name in (*BAND_NAMES, "ndvi", "ndwi"):
        assert dialog.count(f'name="channels" value="{name}" data-list>') == 1
    assert 'value="swir1"' not in dialog
    assert 'value="baraka"' not in dialog  # no scene has all of its channels
    assert dialog.count("data-list checked") == 3 + 3


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Ötztal: ice, 2000–2020", "otztal-ice-2000-2020"),
        ("冰川", "data-set"),
        ("x" * 200, "x" * 60),
        ("../..", "data-set"),
    ],
)
def test_names_of_files_are_plain_words(title: str, name: str) -> None:
    row = DataSet(request={"title": title}, asked_at=datetime(2026, 11, 27, tzinfo=UTC))
    assert KnownDataSet(row, Job()).file_name == f"{name}-2026-11-27"
