"""The client against the real server."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask

from al_server import live as live_of_server
from catalog import failures, jobs
from catalog.bundle_cache import CARD, FILES, ONNX
from catalog.context import Catalog
from catalog.decision_records import DecisionRequest
from catalog.records import Job, JobKind, JobState, Scene, now
from catalog.webhook_records import Subscription
from glacier_al_client import calls
from glacier_al_client import client as client_module
from glacier_al_client.client import Client
from glacier_al_client.errors import (
    JobFailedError,
    ProblemError,
    RefusedDecisionError,
    TimedOutError,
    UnexpectedAnswerError,
)
from glacier_al_client.types import JobAnswer, RegionRequest, RoundRequest, SceneAnswer, SceneRequest
from services import raster_keys
from services.area_predictions import area_keys
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from tests.catalog_fixtures import add_round, add_scene
from tests.dashboard_world import add_failed_event, populate, run_fine_tune, tick
from tests.imagery.forge import forge_scene
from tests.served_app import serving
from tests.served_version import add_version, serve


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def reader(address: str, catalog: Catalog) -> Iterator[Client]:
    with Client(address, catalog.secrets.reader_token) as client:
        yield client


@pytest.fixture
def operator(address: str, catalog: Catalog) -> Iterator[Client]:
    with Client(address, catalog.secrets.operator_token) as client:
        yield client


def add_files(catalog: Catalog, number: int, folder: Path) -> None:
    """Register a version whose files hold a text each, and serve it."""
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(f"{name} of version {number}")
    add_version(catalog, number, folder)
    serve(catalog, number)


def test_the_status_is_that_of_the_dashboard(reader: Client, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
        add_failed_event(session)
        job = run_fine_tune(session)
    tick(catalog)
    status = reader.status()
    assert status.round is not None
    assert (status.rounds, status.round.id, status.round.done, status.round.waiting) == (3, 3, 4, 2)
    assert status.health.tone == "fault"
    assert "1 drawing was not understood" in status.health.troubles[0].text
    assert status.next_step.text == status.health.troubles[0].text
    assert (status.champion, status.labels, status.new_labels) == (None, 16, 4)
    assert [(item.id, item.progress) for item in status.jobs] == [(job, 0.5)]
    assert status.label_events["failed"] == 1
    assert status.scenes == {"pool": 1, "validation": 1, "test": 1}


def test_what_a_part_lacks_is_told_though_the_status_is_503(reader: Client) -> None:
    readiness = reader.ready()
    assert not readiness.ready
    assert readiness.parts is not None
    assert readiness.parts["database"] == "ok"


def test_scenes_and_their_patches_are_read_page_by_page(
    reader: Client, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session, "khumbu")  # 160 x 100 px: 5 x 4 patches
        scene_id, expected = scene.id, [patch.id for patch in patches]
    monkeypatch.setattr(client_module, "PAGE", 6)
    assert [(item.name, item.patches) for item in reader.scenes()] == [("khumbu", 20)]
    assert reader.scene(scene_id).state == "ready"
    assert [feature["id"] for feature in reader.patches(scene_id)] == expected


def test_lists_are_read_to_their_end(
    reader: Client, operator: Client, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalog.database.write() as session:
        for number in range(1, 6):
            add_scene(session, f"scene-{number}")
            add_round(session, [])
            session.add(Subscription(url=f"https://hooks.example.org/{number}", created_by="operator"))
    monkeypatch.setattr(calls, "PAGE", 2)
    assert [scene.id for scene in reader.scenes()] == [1, 2, 3, 4, 5]
    assert [found.id for found in reader.rounds()] == [5, 4, 3, 2, 1]
    assert [item.id for item in operator.subscriptions()] == [1, 2, 3, 4, 5]


def test_a_scene_is_described_and_registered(operator: Client, catalog: Catalog) -> None:
    catalog.settings.scene_root.mkdir()
    forge_scene(catalog.settings.scene_root / "scene.tif")
    request = SceneRequest(name="khumbu", role="pool", path="scene.tif")
    assert operator.describe_scene(request).name == "khumbu"
    assert operator.scenes() == []
    accepted = operator.register_scene(request)
    assert (accepted.scene.name, accepted.job.kind) == ("khumbu", "tile_scene")


def test_an_error_tells_status_title_detail_and_faults(reader: Client, operator: Client) -> None:
    with pytest.raises(ProblemError, match="needs operator") as forbidden:
        reader.open_round()
    assert forbidden.value.status == 403
    with pytest.raises(ProblemError) as missing:
        reader.latest()
    assert (missing.value.status, missing.value.title) == (404, "Not Found")
    assert missing.value.detail == "no model version has been promoted yet; label a round first"
    with pytest.raises(ProblemError) as malformed:
        operator.open_round(RoundRequest(size=0))
    assert malformed.value.body["errors"][0]["field"] == "size"


def test_an_answer_of_another_kind_is_refused(reader: Client, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    with pytest.raises(UnexpectedAnswerError, match=r"/api/v1/scenes is not as expected \(SceneAnswer\)"):
        reader.get("scenes", SceneAnswer)


def test_the_served_version_is_asked_for_again_only_if_it_changed(
    reader: Client, catalog: Catalog, tmp_path: Path
) -> None:
    add_files(catalog, 1, tmp_path / "one")
    first = reader.latest()
    assert reader.latest() is first  # 304
    add_files(catalog, 2, tmp_path / "two")
    while (second := reader.latest()) is first:  # the server remembers it for 0.2 s
        pass
    assert second.version == 2
    assert [version.version for version in reader.versions()] == [2, 1]


def test_files_of_the_served_version_are_checked_and_kept(reader: Client, catalog: Catalog, tmp_path: Path) -> None:
    add_files(catalog, 1, tmp_path / "one")
    bundle = reader.download_latest(tmp_path / "models")
    assert bundle.folder == tmp_path / "models" / "v1"
    assert {file.name for file in bundle.folder.iterdir()} == {ONNX, CARD}
    assert (bundle.folder / ONNX).read_text() == "model.onnx of version 1"
    kept = (bundle.folder / CARD).stat().st_mtime_ns
    (bundle.folder / ONNX).write_text("damaged")
    reader.download_latest(tmp_path / "models")
    assert (bundle.folder / ONNX).read_text() == "model.onnx of version 1"
    assert (bundle.folder / CARD).stat().st_mtime_ns == kept
    with pytest.raises(ValueError, match=r"found the files model\.pt; expected some of"):
        reader.download_latest(tmp_path / "models", ("model.pt",))


def test_a_map_is_waited_for(reader: Client, catalog: Catalog, tmp_path: Path) -> None:
    add_files(catalog, 1, tmp_path / "one")
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
    asked: list[str] = []

    def work() -> None:
        """What a worker does once the job is there."""
        with catalog.database.write() as session:
            job = session.query(Job).filter(Job.kind == JobKind.PREDICT_SCENE).one()
            jobs.claim(session, job.id)
            jobs.finish(session, job.id, job.attempt)
            keys = prediction_keys(session.get_one(Scene, scene.id), 1, delivery_options(catalog.settings))
        for suffix, key in keys.items():
            raster_store(catalog).put(key, f"a {suffix}".encode())

    def note(job: object) -> None:
        if not asked:
            work()
        asked.append(str(job))

    target = tmp_path / "maps" / "khumbu.geojson"
    assert reader.save_prediction(scene.id, target, "geojson", progress=note) == 1
    assert target.read_text() == "a geojson"
    assert asked
    assert list(target.parent.iterdir()) == [target]


def finish_area(catalog: Catalog) -> None:
    """What a worker does with the one area that waits."""
    with catalog.database.write() as session:
        job = session.query(Job).filter(Job.kind == JobKind.PREDICT_AREA, Job.state == JobState.QUEUED).one()
        jobs.claim(session, job.id)
        jobs.finish(session, job.id, job.attempt)
    for suffix, key in area_keys(job.subject["uid"], 1).items():
        raster_store(catalog).put(key, f"a {suffix} of {job.subject['name']}".encode())


def test_a_file_and_a_window_are_mapped(reader: Client, catalog: Catalog, tmp_path: Path) -> None:
    add_files(catalog, 1, tmp_path / "one")
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
    forged = forge_scene(tmp_path / "mine.tif")
    target = tmp_path / "mine.geojson"

    def work(job: JobAnswer) -> None:
        if job.state == JobState.QUEUED:
            finish_area(catalog)

    done = reader.map_file(forged.path, name="mine", bands=["red", "green"], progress=work)
    assert (done.name, done.version, done.job.subject["upload"]["bands"][1]["name"]) == ("mine", 1, "green")
    assert raster_store(catalog).get(raster_keys.upload(done.id)) == forged.path.read_bytes()
    reader.save_area(done.id, target, "geojson")
    assert target.read_text() == "a geojson of mine"
    window = RegionRequest(row_off=8, col_off=16, height=32, width=64)
    done = reader.map_window(scene.id, window, version=1, progress=work)
    assert done.job.subject["window"] == {"row_off": 8, "col_off": 16, "height": 32, "width": 64}
    assert reader.area(done.id).files["tif"].endswith(f"{done.id}/tif")


def test_a_job_is_waited_for_until_it_ends(operator: Client, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        job_id = run_fine_tune(session)
    seen: list[float | None] = []
    with pytest.raises(TimedOutError, match="still running after 0 s"):
        operator.wait_for_job(job_id, lambda job: seen.append(job.progress), timeout_s=0)
    assert seen == [0.5]
    with catalog.database.write() as session:
        failures.cancel(session, job_id)
        jobs.note_cancelled(session, job_id, 1)
    with pytest.raises(JobFailedError, match="the job fine_tune is cancelled") as failed:
        operator.wait_for_job(job_id)
    assert failed.value.job.state == JobState.CANCELLED
    assert operator.retry_job(job_id).state == "queued"
    assert operator.cancel_job(job_id).state == "cancelled"
    assert [job.id for job in operator.jobs(state="cancelled")] == [job_id]


def test_rounds_are_read_and_abandoned(operator: Client, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_round(session, patches[:3])
    assert [item.proposals["published"] for item in operator.rounds()] == [3]
    assert operator.abandon_round(1).state == "abandoned"
    opened = operator.open_round(RoundRequest(strategy="random", size=2))
    assert (opened.round.size, opened.job.kind) == (2, "propose_round")
    assert operator.round(opened.round.id).state == "choosing"


def test_a_fine_tune_is_started_if_there_is_a_label(operator: Client, catalog: Catalog) -> None:
    with pytest.raises(ProblemError, match="found no label to learn from") as refused:
        operator.train()
    assert refused.value.status == 409
    with catalog.database.write() as session:
        populate(session)
    assert operator.train().kind == "fine_tune"


def test_label_events_are_read_page_by_page_and_replayed(
    operator: Client, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 2)
    with catalog.database.write() as session:
        populate(session)  # 16 labels by an event each
        failed = add_failed_event(session).id
    assert len(list(operator.label_events())) == 17
    assert [event.id for event in operator.label_events(state="failed")] == [failed]
    assert operator.replay_label_event(failed).state == "received"


def test_a_promotion_that_is_refused_later_is_an_error(operator: Client, catalog: Catalog, tmp_path: Path) -> None:
    add_files(catalog, 1, tmp_path / "one")
    (tmp_path / "two").mkdir()
    for name in FILES:
        (tmp_path / "two" / name).write_text("another")
    add_version(catalog, 2, tmp_path / "two")

    def refuse() -> None:
        """What the clock does with a request for a damaged version."""
        request = None
        while request is None:
            with catalog.database.write() as session:
                request = session.query(DecisionRequest).one_or_none()
                if request is not None:
                    request.ended_at, request.fault = now(), "model.onnx was changed"

    clock = threading.Thread(target=refuse)
    clock.start()
    with pytest.raises(RefusedDecisionError, match=r"model\.onnx was changed"):
        operator.promote(2, "looks better")
    clock.join()


def test_a_decision_about_another_version_than_the_one_that_is_served_is_refused(
    operator: Client, catalog: Catalog, tmp_path: Path
) -> None:
    add_files(catalog, 1, tmp_path / "one")
    for decide in (partial(operator.promote, 1), operator.roll_back):
        with pytest.raises(ProblemError, match="version 1 is served now, and no longer version 2") as refused:
            decide("looks better", from_version=2)
        assert refused.value.status == 409
    with catalog.read() as session:
        assert session.query(DecisionRequest).all() == []


def test_another_served_version_is_noticed(
    reader: Client, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_of_server, "LOOK_EVERY_S", 0.05)
    add_files(catalog, 1, tmp_path / "one")
    served = reader.served()
    assert next(served).version == 1
    later = threading.Timer(0.3, add_files, (catalog, 2, tmp_path / "two"))  # once the server has begun to look
    later.start()
    assert next(served).version == 2
    later.join()


def test_events_are_subscribed_to(operator: Client, catalog: Catalog) -> None:
    catalog.settings.event_hosts.append("hooks.example.org")
    added = operator.subscribe("https://hooks.example.org/glaciers")
    assert [item.id for item in operator.subscriptions()] == [added.id]
    assert operator.unsubscribe(added.id).url == added.url
