"""How a job ends, whatever its function does. The functions here are the real ones, given what makes them fail so."""

import threading
import time

import pytest
from sqlalchemy import select

from catalog import bundle_cache, jobs
from catalog.context import Catalog
from catalog.errors import JobInterruptedError, JobLostError
from catalog.failures import retry
from catalog.job_queue import COMPUTE, IO, LABELS, UPKEEP, queue_of
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    LabelEvent,
    Round,
    RoundState,
    Scene,
    SceneState,
    Scoring,
)
from catalog.settings import Settings, Strategy
from imagery.scene_source import SceneSource
from imagery.valid_pixels import check_has_data
from models import bundle
from services import changing_settings
from tests.catalog_fixtures import add_scene, add_scoring
from tests.imagery.forge import forge_scene
from tests.workers.few_handles import few_handles
from tests.workers.rows import claimed, context_of, register
from workers import interruption
from workers import jobs as worker_jobs
from workers.job_functions import function_of
from workers.jobs import JobContext, perform
from workers.time_limit import JobTimeLimit


def state(catalog: Catalog, job: Job) -> Job:
    with catalog.read() as session:
        return session.get_one(Job, job.id)


def queued(catalog: Catalog, kind: JobKind, **subject: object) -> Job:
    with catalog.database.write() as session:
        return jobs.enqueue(session, kind, **subject)


@pytest.mark.parametrize("kind", list(JobKind))
def test_every_kind_of_work_has_its_function(kind):
    function = function_of(kind)
    home = "experiments" if kind is JobKind.RUN_EXPERIMENT else "workers"
    assert (function.__module__, function.__name__) == (f"{home}.{kind.value}", kind.value)


def test_what_needs_the_network_runs_apart():
    apart = {kind for kind in JobKind if queue_of(kind) == COMPUTE}
    assert apart == {
        JobKind.FINE_TUNE,
        JobKind.SCORE_POOL,
        JobKind.SCORE_SHARD,
        JobKind.PREDICT_SCENE,
        JobKind.PREDICT_AREA,
        JobKind.EXPORT_GLIMS,
        JobKind.COMPARE_SCENES,
        JobKind.COMPARE_SERVED,
        JobKind.EXPORT_DATASET,
        JobKind.REPRODUCE_VERSION,
        JobKind.EXPORT_SUBMISSION,
        JobKind.RUN_EXPERIMENT,
    }
    assert {queue_of(kind) for kind in JobKind} == {LABELS, IO, UPKEEP, COMPUTE}


def test_a_version_holds_the_files_that_the_cache_fetches():
    names = (bundle_cache.CARD, bundle_cache.WEIGHTS, bundle_cache.ONNX)
    assert names == (bundle.CARD_FILE, bundle.WEIGHTS_FILE, bundle.ONNX_FILE)
    assert set(bundle_cache.FILES) == set(names)


def test_a_job_that_succeeds_is_finished(catalog, tmp_path):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = claimed(catalog, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)
    perform(catalog, job)
    done = state(catalog, job)
    assert (done.state, done.error, done.failures) == (JobState.FINISHED, None, 0)
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.READY


def test_bad_input_fails_at_once_with_its_own_words(catalog, tmp_path):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif", nodata_columns=160))  # all of them
    job = claimed(catalog, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)
    perform(catalog, job)
    failed = state(catalog, job)
    assert (failed.state, failed.failures) == (JobState.FAILED, 1)
    assert "found no pixel of 100 rows x 160 columns" in failed.error


def attempt(catalog: Catalog, job: Job) -> Job:
    """Have a queued job done once, however long it is to wait."""
    with catalog.database.write() as session:
        taken = jobs.claim(session, job.id)
    perform(catalog, taken)
    return state(catalog, job)


@pytest.mark.parametrize("away", ["a.tif", "a_outlines.gpkg"])
def test_a_scene_whose_files_are_away_for_a_while_is_tiled_when_they_are_back(catalog, tmp_path, away):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = queued(catalog, JobKind.TILE_SCENE, scene_id=scene_id)
    elsewhere = (tmp_path / away).rename(tmp_path / "elsewhere")
    after = attempt(catalog, job)
    assert (after.state, after.failures) == (JobState.QUEUED, 1)
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.REGISTERED
    elsewhere.rename(tmp_path / away)
    assert attempt(catalog, job).state is JobState.FINISHED
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.READY


@pytest.mark.parametrize(
    ("gone", "told"),
    [("a.tif", "found no such file; expected a GeoTIFF"), ("a_outlines.gpkg", "found no readable file")],
)
def test_a_scene_whose_files_are_gone_is_rejected_by_the_last_attempt(catalog, tmp_path, gone, told):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = queued(catalog, JobKind.TILE_SCENE, scene_id=scene_id)
    (tmp_path / gone).unlink()
    states = []
    for _ in range(catalog.settings.job_attempts):
        after = attempt(catalog, job)
        with catalog.read() as session:
            scene = session.get_one(Scene, scene_id)
        states.append((after.state, after.failures, scene.state))
    assert states == [
        (JobState.QUEUED, 1, SceneState.REGISTERED),
        (JobState.QUEUED, 2, SceneState.REGISTERED),
        (JobState.FAILED, 3, SceneState.REJECTED),
    ]
    assert after.error == scene.error
    assert after.error.startswith(f"{tmp_path / gone}: {told}")


def test_a_scene_is_never_rejected_for_a_lack_of_file_handles(catalog, tmp_path, monkeypatch):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = queued(catalog, JobKind.TILE_SCENE, scene_id=scene_id)
    with monkeypatch.context() as meanwhile:

        def check_without_handles(source: SceneSource) -> None:
            with few_handles():
                check_has_data(source)

        meanwhile.setattr("workers.tile_scene.check_has_data", check_without_handles)
        for _ in range(catalog.settings.job_attempts):
            failed = attempt(catalog, job)
    assert failed.state is JobState.FAILED
    assert "Too many open files" in failed.error
    with catalog.write() as session:
        retry(session, job.id)  # a rejected scene would refuse that
    assert attempt(catalog, job).state is JobState.FINISHED
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.READY


def test_an_outage_is_waited_for_and_is_no_failure(catalog):
    job = claimed(catalog, JobKind.SYNC_LABEL_STUDIO)  # nobody listens where the settings say Label Studio is
    perform(catalog, job)
    waiting = state(catalog, job)
    assert (waiting.state, waiting.failures) == (JobState.QUEUED, 0)
    assert waiting.run_after > waiting.started_at
    assert "cannot be reached" in waiting.error


def test_the_loss_of_mlflow_is_an_outage_too(catalog):
    job = claimed(catalog, JobKind.SCORE_POOL)
    perform(catalog, job)
    assert state(catalog, job).state is JobState.QUEUED
    assert "MLflow does not answer" in state(catalog, job).error


def test_anything_else_is_tried_again_and_then_given_up(catalog):
    job = queued(catalog, JobKind.SYNC_LABEL_STUDIO, unknown_argument=1)  # a fault that only our own code could make
    for attempt in range(1, catalog.settings.job_attempts + 1):
        with catalog.database.write() as session:
            taken = jobs.claim(session, job.id)
        perform(catalog, taken)
        after = state(catalog, job)
        assert (after.attempt, after.failures) == (attempt, attempt)
    assert after.state is JobState.FAILED
    assert after.error.startswith("TypeError: ")


def test_a_round_that_cannot_be_made_says_why(catalog):
    with catalog.database.write() as session:
        opened = Round(strategy=Strategy.RECIPE, size=3, seed=0)  # a strategy that should have been resolved
        session.add(opened)
    catalog.settings = Settings(**{**catalog.settings.model_dump(), "job_attempts": 1})
    job = claimed(catalog, JobKind.PROPOSE_ROUND, "1", round_id=opened.id)
    perform(catalog, job)
    with catalog.read() as session:
        failed = session.get_one(Round, opened.id)
    assert failed.state is RoundState.FAILED
    assert "resolve it first" in failed.error


def test_an_event_that_cannot_be_read_is_a_failed_job_and_a_failed_event(catalog):
    with catalog.database.write() as session:
        event = LabelEvent(dedupe_key="x", action="ANNOTATION_CREATED", origin="webhook", body=b"{")
        session.add(event)
    job = claimed(catalog, JobKind.INGEST_LABEL, "1", event_id=event.id)
    perform(catalog, job)
    assert state(catalog, job).state is JobState.FAILED
    with catalog.read() as session:
        assert session.get_one(LabelEvent, event.id).state is EventState.FAILED


def test_progress_can_be_read_meanwhile(catalog):
    context = context_of(catalog)
    context.progress(3, 12, "scoring")
    with catalog.read() as session:
        job = session.get_one(Job, context.job_id)
    assert (job.done, job.total, job.message) == (3, 12, "scoring")
    assert jobs.eta_s(job) > 0


def test_of_short_steps_the_first_and_the_last_are_stored_and_each_may_end_the_job(catalog, monkeypatch):
    context, stored = context_of(catalog), []
    for done in (1, 2, 3):  # within a second
        context.progress_of_step(done, 3, f"step {done}")
        with catalog.read() as session:
            stored.append(session.get_one(Job, context.job_id).message)
    assert stored == ["step 1", "step 1", "step 3"]
    monkeypatch.setattr(interruption, "is_requested", lambda: True)
    with pytest.raises(JobInterruptedError):
        context.progress_of_step(1, 3, "again")


def hand_over(catalog: Catalog, job_id: str) -> None:
    """Give a running job to another worker, as the sweep does when its heart has stopped."""
    with catalog.database.write() as session:
        jobs.try_again(session, job_id, session.get_one(Job, job_id).attempt, "its worker died", 3)
        session.get_one(Job, job_id).run_after = session.get_one(Job, job_id).created_at
        assert jobs.claim(session, job_id) is not None


def test_a_job_that_was_given_away_is_fenced_off(catalog):
    context = context_of(catalog)
    hand_over(catalog, context.job_id)
    with pytest.raises(JobLostError):
        context.progress(1, 2, "too late")


def test_a_heart_beats_while_the_function_computes(catalog):
    catalog.settings = Settings(**{**catalog.settings.model_dump(), "job_stale_after_s": 0.2})
    context = context_of(catalog)
    with context.heartbeats():
        time.sleep(0.5)
    with catalog.read() as session:
        job = session.get_one(Job, context.job_id)
    assert (job.heartbeat_at - job.started_at).total_seconds() > 0.3
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_heart_that_finds_the_job_given_away_stops_the_work(catalog):
    catalog.settings = Settings(**{**catalog.settings.model_dump(), "job_stale_after_s": 0.1})
    context = context_of(catalog)
    with context.heartbeats():
        hand_over(catalog, context.job_id)
        time.sleep(0.2)
        with pytest.raises(JobLostError, match="given to another worker"):
            context.progress(1, 2, "too late")


def test_the_end_of_a_job_that_was_given_away_is_not_noted(catalog, tmp_path):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = claimed(catalog, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)
    hand_over(catalog, job.id)
    perform(catalog, job)  # raises nothing: RQ has no business with it
    running = state(catalog, job)
    assert (running.state, running.attempt, running.failures) == (JobState.RUNNING, 2, 1)


def test_a_timeout_counts_as_a_failure_and_is_tried_again(catalog):
    class Late(JobContext):
        def heartbeats(self):
            raise JobTimeLimit("Task exceeded maximum timeout value (900 seconds)")

    job = claimed(catalog, JobKind.SCORE_POOL)
    note_end = worker_jobs._call(Late(catalog, job), job)
    with catalog.database.write() as session:
        note_end(session)
    late = state(catalog, job)
    assert (late.state, late.failures) == (JobState.QUEUED, 1)
    assert late.error.startswith("JobTimeLimit: Task exceeded")


def test_a_job_that_is_done_is_not_done_again(catalog, settings, monkeypatch):
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)  # as a worker's process gets them
    job = queued(catalog, JobKind.SYNC_LABEL_STUDIO)
    with catalog.database.write() as session:
        taken = jobs.claim(session, job.id)
        jobs.finish(session, taken.id, taken.attempt)
    worker_jobs.run(job.id)
    assert (state(catalog, job).state, state(catalog, job).attempt) == (JobState.FINISHED, 1)


def test_a_job_whose_cancellation_was_not_seen_does_not_begin_again(catalog, settings, monkeypatch):
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)  # as a worker's process gets them
    job = queued(catalog, JobKind.SYNC_LABEL_STUDIO)
    with catalog.database.write() as session:
        taken = jobs.claim(session, job.id)
        jobs.request_cancel(session, job.id)
        jobs.hand_back(session, job.id, taken.attempt)
    worker_jobs.run(job.id)
    assert (state(catalog, job).state, state(catalog, job).error) == (JobState.CANCELLED, jobs.CANCELLED)


def test_a_job_takes_in_at_its_start_what_people_changed_of_the_settings(catalog, settings, monkeypatch):
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)  # as a worker's process gets them
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        for version in (1, 2):
            add_scoring(session, version, {patches[0].id: 0.5})
    job = queued(catalog, JobKind.REMOVE_SUPERSEDED)
    changing_settings.change(catalog, {"keep_scorings": 1}, "olga")  # two are kept by default
    worker_jobs.run(job.id)
    with catalog.read() as session:
        kept = session.scalars(select(Scoring.model_version).where(Scoring.removed_at.is_(None)))
        assert kept.all() == [2]
