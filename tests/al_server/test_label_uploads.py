"""A GeoPackage edited in QGIS comes back as labels, over HTTP and by the command."""

import errno
import json
import sqlite3
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from catalog.context import Catalog
from catalog.records import EventState, Job, JobKind, Label, LabelEvent, Patch, Scene, SceneRole
from cli.main import main
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_gpkg
from services import corrections
from services.corrections import CorrectedPatch, decode_runs
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.scenes import find_scene
from tests.al_server.test_corrections import scene_of
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.forge import NORTH_UP, UTM_45N, ForgedScene, forge_scene
from tests.imagery.test_label_polygons import rectangle, write_drawn
from tests.real_qgis import in_qgis, needs_qgis
from tests.served_app import serving
from workers.correction_drawing import apply_correction


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    return forge_scene(tmp_path / "scene.tif")


@pytest.fixture
def scene_id(catalog: Catalog, forged: ForgedScene) -> int:
    return scene_of(catalog, forged)


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A judged part of two patches: rows 4 to 20, columns 8 to 40, with clean ice in rows 4 to 12."""
    drawn = {
        "glacier_outlines": [(rectangle(4, 8, 12, 40), "clean ice")],
        "judged": [(rectangle(4, 8, 20, 40), None)],
    }
    return Path(write_drawn(tmp_path / "edited.gpkg", drawn))


EXPECTED = np.full((100, 160), UNKNOWN, dtype=np.uint8)
EXPECTED[4:20, 8:40] = 0
EXPECTED[4:12, 8:40] = 1


def send(
    client: FlaskClient, catalog: Catalog, scene_id: int, content: bytes, query: str = "", role: str = "annotator"
) -> TestResponse:
    headers = {**as_role(catalog, role), "Content-Type": "application/geopackage+sqlite3"}
    return client.post(f"/api/v1/scenes/{scene_id}/labels{query}", data=content, headers=headers)


def stored(catalog: Catalog) -> list[tuple[LabelEvent, CorrectedPatch]]:
    with catalog.read() as session:
        events = session.scalars(select(LabelEvent).order_by(LabelEvent.id)).all()
        return [(event, CorrectedPatch.model_validate_json(event.body)) for event in events]


def test_a_dry_run_tells_what_is_recognised_and_stores_nothing(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    answer = send(client, catalog, scene_id, edited.read_bytes(), "?dry_run=true")
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert [(layer["name"], layer["features"]) for layer in told["layers"]] == [
        ("glacier_outlines", {"clean ice": 1}),
        ("judged", {"judged": 1}),
    ]
    assert told["classes_px"] == {"background": 256, "clean ice": 256, "debris-covered ice": 0}
    assert (told["row_off"], told["col_off"], told["height"], told["width"]) == (4, 8, 16, 32)
    assert (told["judged_px"], told["edited_px"], told["label_events"]) == (512, 256, [])
    assert stored(catalog) == []


def test_what_was_drawn_becomes_labels_of_whoever_sent_it(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    answer = send(client, catalog, scene_id, edited.read_bytes(), "?seconds=64")
    assert answer.status_code == 202, answer.text
    found = stored(catalog)
    assert [event.id for event, _ in found] == answer.json["label_events"]
    assert {(event.origin, event.state) for event, _ in found} == {("map", EventState.RECEIVED)}
    assert [body.share for _, body in found] == [48.0, 16.0]  # 24 and 8 of 32 columns
    assert {body.correction.annotator for _, body in found} == {"annotator"}
    with catalog.read() as session:
        jobs = session.scalars(select(Job).where(Job.kind == JobKind.INGEST_LABEL)).all()
    assert [job.subject["event_id"] for job in jobs] == answer.json["label_events"]
    for event, _ in found:
        apply_correction(catalog, event)
    with catalog.read() as session:
        labels = session.scalars(select(Label).order_by(Label.id)).all()
        patches = [session.get_one(Patch, label.patch_id) for label in labels]
    for label, patch in zip(labels, patches, strict=True):
        mask = mask_from_geotiff(raster_store(catalog).get(label.mask_key), GLACIER_SCHEME)
        part = EXPECTED[patch.row_off : patch.row_off + 32, patch.col_off : patch.col_off + 32]
        np.testing.assert_array_equal(mask, part)


def test_a_file_may_be_as_large_as_an_upload(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    with sqlite3.connect(edited) as database:  # a table of 2 MiB that is no layer
        database.execute("CREATE TABLE notes (content BLOB)")
        database.execute("INSERT INTO notes VALUES (zeroblob(?))", (2 * 2**20,))
    assert edited.stat().st_size > 2 * 2**20 > catalog.settings.request_max_bytes
    answer = send(client, catalog, scene_id, edited.read_bytes(), "?dry_run=true")
    assert answer.status_code == 200, answer.text
    assert answer.json["judged_px"] == 512


def test_the_same_file_twice_is_one_correction(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    first, again = (send(client, catalog, scene_id, edited.read_bytes()) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert (first.json["sent_before"], again.json["sent_before"]) == (False, True)
    assert first.json | {"sent_before": True} == again.json
    assert len(stored(catalog)) == 2
    assert [body.share for _, body in stored(catalog)] == [None, None]  # nobody measured the time


def test_edits_are_counted_from_the_prediction_that_was_edited(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene, edited: Path
) -> None:
    predicted = np.zeros((100, 160), dtype=np.uint8)
    predicted[4:10, 8:40] = 1
    with catalog.read() as session:
        keys = prediction_keys(find_scene(session, scene_id), 3, delivery_options(catalog.settings))
    raster_store(catalog).put(keys["tif"], mask_to_geotiff(predicted, forged.grid, GLACIER_SCHEME))
    answer = send(client, catalog, scene_id, edited.read_bytes(), "?version=3")
    assert answer.json["edited_px"] == 2 * 32
    assert stored(catalog)[0][1].correction.shown.version == 3


@pytest.mark.parametrize("version", [3, 33])
def test_edits_are_not_counted_from_a_map_that_is_not_there(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path, version: int
) -> None:
    refused = send(client, catalog, scene_id, edited.read_bytes(), f"?version={version}")
    assert_problem(refused, 404, "the map that was edited is not there to count the edits from")
    assert stored(catalog) == []


def test_a_version_that_cannot_be_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    assert_problem(send(client, catalog, scene_id, edited.read_bytes(), "?version=3000000000"), 422)


def test_without_memory_for_a_helper_the_file_is_asked_for_again_later(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("al_server.sent_files.Helper", fail)
    refused = send(client, catalog, scene_id, edited.read_bytes())
    assert_problem(refused, 503, "no process to read the file could be started")
    assert refused.headers["Retry-After"] == "10"


def test_a_file_that_may_be_open_elsewhere_is_noted(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    with closing(sqlite3.connect(edited)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    assert edited.read_bytes()[18:20] == b"\2\2"  # still so in the closed file, which is why it is not refused
    answer = send(client, catalog, scene_id, edited.read_bytes(), "?dry_run=true")
    assert answer.status_code == 200
    assert all("edits may be missing" in layer["notes"][-1] for layer in answer.json["layers"])


def test_the_command_refuses_a_file_whose_last_edits_lie_beside_it(edited: Path) -> None:
    with closing(sqlite3.connect(edited)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE notes (note TEXT)")
        there = ["--url", "http://127.0.0.1:9", "--token", "t"]
        refused = CliRunner().invoke(main, ["labels", "upload", str(edited), "--scene", "khumbu", *there])
    assert (refused.exit_code, "found edits that are not in edited.gpkg yet" in refused.output) == (1, True)


def with_view(path: Path) -> bytes:
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW v AS SELECT 1 AS fid")
    return path.read_bytes()


def test_what_is_no_file_of_labels_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path, tmp_path: Path
) -> None:
    assert_problem(send(client, catalog, scene_id, b"hello"), 422, "neither a GeoPackage nor a zip archive")
    damaged = edited.read_bytes()[:3000]
    assert_problem(send(client, catalog, scene_id, damaged), 422, "the file: found a GeoPackage that cannot be read")
    wrong = write_drawn(tmp_path / "wrong.gpkg", {"a": [(rectangle(1, 1, 9, 9), "ice")]})
    assert_problem(
        send(client, catalog, scene_id, Path(wrong).read_bytes()), 422, "the file: found in the field 'class'"
    )
    assert_problem(send(client, catalog, scene_id, with_view(edited)), 422, "the file: found the view 'v'")
    assert_problem(send(client, catalog, scene_id, b" " * (64 * 2**20 + 1)), 413, "capacity limit")
    assert_problem(send(client, catalog, scene_id, b"", role="reader"), 403, "needs annotator")
    assert stored(catalog) == []


def test_a_comb_of_thin_teeth_is_refused(
    client: FlaskClient, catalog: Catalog, scene_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST_RUNS", 500)
    teeth = [(rectangle(0, column, 32, column + 1), "clean ice") for column in range(0, 32, 2)]
    content = Path(write_drawn(tmp_path / "comb.gpkg", {"a": teeth})).read_bytes()
    refused = send(client, catalog, scene_id, content)
    assert_problem(refused, 422, "found 1024 runs of pixels of one class in all patches; expected at most 500")
    assert stored(catalog) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_million_polygons_are_read_or_refused_within_the_limits(
    client: FlaskClient, catalog: Catalog, scene_id: int, edited: Path, tmp_path: Path
) -> None:
    """Squares of 1 m, 3 m apart: a hundred in each of 10,000 pixels. How far a machine comes depends on it."""
    side, (step, _, x, _, _, y) = 1000, NORTH_UP
    assert side * 3 <= min(100, 160) * step
    columns, rows = (3.0 * axis.ravel() for axis in np.meshgrid(np.arange(side), np.arange(side)))
    squares = shapely.to_wkb(shapely.box(x + columns, y - rows - 1, x + columns + 1, y - rows))
    file = tmp_path / "judged.fgb"
    pyogrio.raw.write(
        file,
        squares,
        field_data=[np.full(side**2, "clean ice", dtype=object)],
        fields=["class"],
        driver="FlatGeobuf",
        geometry_type="Polygon",
        crs=UTM_45N,
        SPATIAL_INDEX="NO",
    )
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(file, file.name)
    content = (tmp_path / "many.zip").read_bytes()
    assert len(content) < 64 * 2**20
    began = time.monotonic()
    answer = send(client, catalog, scene_id, content, "?dry_run=true")
    print(f"{len(content) / 2**20:.0f} MiB, {time.monotonic() - began:.0f} s: {answer.status_code} {answer.text[:300]}")
    if answer.status_code == 200:
        assert answer.json is not None
        assert answer.json["layers"][0]["features"] == {"clean ice": side**2}
    else:
        assert_problem(answer, 422, "")
        detail = (answer.json or {})["detail"]
        assert "could not be read within 60 s" in detail or "MiB of memory" in detail
    assert send(client, catalog, scene_id, edited.read_bytes(), "?dry_run=true").status_code == 200


def test_a_scene_that_judges_models_takes_no_labels(
    client: FlaskClient, catalog: Catalog, tmp_path: Path, edited: Path
) -> None:
    judging = scene_of(catalog, forge_scene(tmp_path / "v.tif"), SceneRole.VALIDATION)
    assert_problem(send(client, catalog, judging, edited.read_bytes()), 409, "it judges models")


def test_the_command_shows_what_is_recognised_and_sends_it(
    app: Flask, catalog: Catalog, scene_id: int, edited: Path
) -> None:
    token = catalog.secrets.annotator_token

    def run(*options: str, given: str | None = None) -> Any:
        command = ["labels", "upload", str(edited), "--scene", "pool", "--url", address, "--token", token, *options]
        return CliRunner().invoke(main, command, input=given)

    with serving(app) as address:
        refused = run(given="n\n")
        assert (refused.exit_code, stored(catalog)) == (1, [])
        assert "glacier_outlines" in refused.output
        assert "Judged: 512 pixels (256 background, 256 clean ice), of which 256 differ" in refused.output
        declined = run("--json", given="n\n")
        assert (declined.exit_code, declined.stdout, stored(catalog)) == (1, "", [])
        shown = run("--dry-run", "--json")
        assert (shown.exit_code, json.loads(shown.stdout)["judged_px"], stored(catalog)) == (0, 512, [])
        done = run("--yes", "--json", "--minutes", "2")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["label_events"] == [event.id for event, _ in stored(catalog)]
    assert sum(body.share for _, body in stored(catalog)) == pytest.approx(120)


def test_a_scene_is_chosen_by_its_name_before_its_number(
    app: Flask, catalog: Catalog, scene_id: int, forged: ForgedScene, edited: Path
) -> None:
    """Scene 1 is called "3", and scene 2 is called "1"."""
    with catalog.write() as session:
        session.get_one(Scene, scene_id).name = "3"
    second = scene_of(catalog, forged)
    with catalog.write() as session:
        session.get_one(Scene, second).name = "1"
    assert (scene_id, second) == (1, 2)
    with serving(app) as address:
        for called, name in (("1", "1"), ("3", "3"), ("2", "1")):
            command = ["labels", "upload", str(edited), "--scene", called, "--url", address]
            declined = CliRunner().invoke(main, [*command, "--token", catalog.secrets.annotator_token], input="n\n")
            assert f"Send them as labels of {name}?" in declined.output


@pytest.mark.slow
@needs_qgis
def test_what_a_real_qgis_edited_comes_back_as_it_was_drawn(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene, tmp_path: Path
) -> None:
    """The first outline is deleted, a triangle drawn in its place, and the ground around it judged."""
    file = tmp_path / "outlines.gpkg"
    table = tabulate(forged.truth, forged.grid, GLACIER_SCHEME.names)
    file.write_bytes(write_outlines_gpkg(table, "outlines", GLACIER_SCHEME.colours_of(GLACIER_SCHEME.names)))
    edited = in_qgis(tmp_path, "edit", file)
    assert (edited["saved"], edited["faults"]) == (True, [])
    answer = send(client, catalog, scene_id, file.read_bytes())
    assert answer.status_code == 202, answer.text
    assert [layer["name"] for layer in answer.json["layers"]] == ["outlines", "judged"]
    left, bottom, right, top = edited["box"]
    triangle = shapely.Polygon([(left, bottom), (right, bottom), (right, top)])
    kept = [*table.map_polygons[1:], triangle]
    names = [*table.fields["class"][1:], "debris-covered ice"]
    expected = np.full((100, 160), UNKNOWN, dtype=np.uint8)
    rows, columns = np.mgrid[:100, :160] + 0.5
    step, _, x, _, _, y = NORTH_UP
    ground = shapely.points(x + columns * step, y - rows * step)
    expected[shapely.contains(shapely.box(left, bottom, right, top), ground)] = 0
    for name in ("clean ice", "debris-covered ice"):  # by rising precedence
        for polygon, of_class in zip(kept, names, strict=True):
            if of_class == name:
                expected[shapely.contains(polygon, ground)] = GLACIER_SCHEME.by_name(name).value
    found = np.full((100, 160), UNKNOWN, dtype=np.uint8)
    with catalog.read() as session:
        for _, body in stored(catalog):
            patch = session.get_one(Patch, body.patch)
            part = found[patch.row_off : patch.row_off + 32, patch.col_off : patch.col_off + 32]
            part[...] = decode_runs(body.runs, 32, 32, GLACIER_SCHEME)
    covered = found != UNKNOWN
    assert covered.sum() > 3000
    tiled = np.zeros((100, 160), dtype=bool)
    tiled[:96] = True  # no patch of 32 px lies in the last rows
    np.testing.assert_array_equal(found[tiled], expected[tiled])
