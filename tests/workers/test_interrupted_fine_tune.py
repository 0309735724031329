"""Fine-tunes that do not run through: MLflow or the worker goes away, or a person or a time limit ends them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mlflow import MlflowClient
from sqlalchemy import select

from catalog import failures, jobs, training
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.errors import JobInterruptedError, RegistryError, ServiceDownError
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    SceneState,
    TrainingRun,
    now,
)
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from catalog.withdrawal_records import Withdrawal, WithdrawnLabel
from catalog.withdrawals import note_affected
from models.training import StepReport
from services import raster_keys
from services.places import raster_store
from services.promotion import roll_back
from services.scenes import ready_scenes
from services.unusable_scenes import take_back
from tests.catalog_fixtures import forget_decisions
from tests.real_services import running
from tests.workers.fine_tuning import TRIGGER, fine_tune, labelled, mlflow, mlflow_status, reopen, row, runs, settings
from workers.jobs import perform
from workers.run_tracking import UID_TAG
from workers.training_report import TrainingReport
from workers.training_run import note_version

__all__ = ["labelled", "mlflow", "settings"]

pytestmark = pytest.mark.slow

WAIT_S = 120


@contextmanager
def worker(catalog: Catalog, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with running([sys.executable, "-m", "workers.main", "compute"], catalog.settings.as_environment(), log=log) as it:
        yield it


def wait_for(what: str, done: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, f"{what} did not happen; {log.read_text()[-3000:]}"
        time.sleep(0.05)


def test_when_mlflow_goes_away_the_job_waits_and_begins_anew(labelled, mlflow, tmp_path):
    log = tmp_path / "worker.log"
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 600})
    with labelled.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER)
    with worker(labelled, log):
        wait_for("the training", lambda: row(labelled, job.id).done > 0, log)
        mlflow.stop()
        wait_for("the outage", lambda: row(labelled, job.id).state is JobState.QUEUED, log)
    waiting = row(labelled, job.id)
    assert (waiting.failures, waiting.attempt) == (0, 1)
    assert "MLflow does not answer" in waiting.error
    (interrupted,) = runs(labelled)
    assert interrupted.state is RunState.OPEN

    mlflow.start()
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 6})
    with labelled.database.write() as session:
        session.get_one(Job, job.id).run_after = now()
        again = jobs.claim(session, job.id)
    perform(labelled, again)
    assert row(labelled, job.id).state is JobState.FINISHED
    killed, finished = runs(labelled)
    assert (killed.state, finished.state) == (RunState.KILLED, RunState.FINISHED)
    assert (mlflow_status(labelled, killed), mlflow_status(labelled, finished)) == ("KILLED", "FINISHED")


def test_a_timeout_closes_the_run_as_killed(labelled, tmp_path):
    log = tmp_path / "worker.log"
    changes = {"fine_tune_steps": 100_000, "compute_timeout_s": 10, "job_attempts": 1}
    hurried = Catalog(Settings(**{**labelled.settings.model_dump(), **changes}))
    with hurried.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER)
    with worker(hurried, log):
        wait_for("the time-out", lambda: row(hurried, job.id).state is JobState.FAILED, log)
    (run,) = runs(hurried)
    assert "JobTimeLimit" in row(hurried, job.id).error
    assert run.state is RunState.KILLED
    assert mlflow_status(hurried, run) == "KILLED"
    hurried.close()


def test_a_killed_training_is_closed_by_the_next(labelled, tmp_path):
    log = tmp_path / "worker.log"
    slow = Catalog(Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 100_000}))
    with slow.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER)
    with worker(slow, log) as process:
        wait_for("the training", lambda: row(slow, job.id).done > 0, log)
        horse = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(horse, signal.SIGKILL)
        wait_for("the return", lambda: row(slow, job.id).state is JobState.QUEUED, log)
    slow.close()
    with labelled.database.write() as session:
        again = jobs.claim(session, job.id)
    perform(labelled, again)
    killed, finished = runs(labelled)
    assert (killed.state, finished.state) == (RunState.KILLED, RunState.FINISHED)
    assert mlflow_status(labelled, killed) == "KILLED"


def test_a_version_registered_by_a_killed_attempt_is_brought_to_its_promotion(labelled):
    fine_tune(labelled)
    (run,) = runs(labelled)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    with labelled.database.write() as session:  # as if the worker had died right after registering
        session.get_one(TrainingRun, run.id).state = RunState.OPEN
        forget_decisions(session, 1)
    client.delete_registered_model_alias(labelled.settings.registered_model, "champion")
    assert fine_tune(labelled).state is JobState.FINISHED
    (finished,) = runs(labelled)
    assert (finished.state, finished.model_version) == (RunState.FINISHED, 1)
    assert registry_of(labelled.settings).aliases() == {"champion": 1, "learner": 1}
    with labelled.read() as session:
        assert [item.verdict for item in session.scalars(select(Promotion))] == ["promoted"]


def test_a_version_registered_by_a_killed_attempt_does_not_undo_a_roll_back(labelled):
    fine_tune(labelled)
    fine_tune(labelled)
    registry = registry_of(labelled.settings)
    roll_back(labelled, registry, "it maps shadows", "a person")
    reopen(labelled, runs(labelled)[1])
    assert fine_tune(labelled).state is JobState.FINISHED
    assert registry.aliases()["champion"] == 1
    assert runs(labelled)[1].state is RunState.FINISHED


def test_a_version_registered_by_a_killed_attempt_does_not_replace_another_champion(labelled):
    fine_tune(labelled)
    fine_tune(labelled)
    first, second = runs(labelled)
    client, name = MlflowClient(tracking_uri=labelled.settings.mlflow_url), labelled.settings.registered_model
    client.create_model_version(name, source=f"runs:/{first.mlflow_run_id}/bundle", run_id=first.mlflow_run_id)
    client.set_registered_model_alias(name, "champion", "3")
    reopen(labelled, second)
    with labelled.database.write() as session:
        forget_decisions(session, 2)
    assert fine_tune(labelled).state is JobState.FINISHED
    assert registry_of(labelled.settings).aliases() == {"champion": 3, "challenger": 2, "learner": 2}


def test_an_attempt_that_loses_its_job_after_registering_concludes_nothing(labelled, monkeypatch):
    def lose_job(catalog: Catalog, *noted: Any) -> None:
        note_version(catalog, *noted)
        with catalog.database.write() as session:
            for job in session.scalars(select(Job).where(Job.state == JobState.RUNNING)):
                job.attempt += 1  # another worker has claimed it

    monkeypatch.setattr("workers.fine_tune.note_version", lose_job)
    assert fine_tune(labelled).state is JobState.RUNNING
    (run,) = runs(labelled)
    assert (run.state, run.model_version) == (RunState.OPEN, 1)
    assert registry_of(labelled.settings).aliases() == {}


def withdraw_label(catalog: Catalog, label_id: int) -> None:
    """Withdraw a label; which versions learnt from it is left open."""
    with catalog.database.write() as session:
        label = session.get_one(Label, label_id)
        label.superseded_at = now()
        withdrawal = Withdrawal(annotator=label.annotator, reason="shifted", actor="an operator", withdrawn_at=now())
        session.add(withdrawal)
        session.flush()
        session.add(WithdrawnLabel(label_id=label_id, withdrawal_id=withdrawal.id))


def test_a_version_whose_labels_are_withdrawn_while_it_is_uploaded_is_deleted(labelled, monkeypatch):
    def withdraw_first(catalog: Catalog, run: TrainingRun, *noted: Any) -> None:
        if run.id == 1:
            withdraw_label(catalog, 1)
        note_version(catalog, run, *noted)

    monkeypatch.setattr("workers.fine_tune.note_version", withdraw_first)
    assert fine_tune(labelled).state is JobState.FINISHED
    killed, finished = runs(labelled)
    assert (killed.state, killed.model_version) == (RunState.KILLED, None)
    assert (finished.state, finished.model_version) == (RunState.FINISHED, 2)
    assert [version.version for version in registry_of(labelled.settings).versions(limit=10)] == [2]


@pytest.mark.parametrize("interrupted_by", ["its death", "an outage of MLflow"])
def test_a_version_left_by_a_dead_attempt_is_deleted_if_its_labels_are_withdrawn(labelled, monkeypatch, interrupted_by):
    """The attempt ends between the registration and its note, or cannot delete the version that it may not note."""

    def end_first(catalog: Catalog, run: TrainingRun, *noted: Any) -> None:
        if interrupted_by == "its death":
            raise ServiceDownError("MLflow", catalog.settings.mlflow_url, "stands for a process that is killed here")
        withdraw_label(catalog, 1)
        note_version(catalog, run, *noted)

    def refuse(*_: object) -> NoReturn:
        raise ServiceDownError("MLflow", labelled.settings.mlflow_url, "refused")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.fine_tune.note_version", end_first)
        meanwhile.setattr(Tracking, "delete_unnamed", refuse)
        waiting = fine_tune(labelled)
    assert waiting.state is JobState.QUEUED
    registry = registry_of(labelled.settings)
    (left,) = runs(labelled)
    assert (left.state, left.model_version) == (RunState.OPEN, None)
    assert [version.version for version in registry.versions(limit=10)] == [1]
    if interrupted_by == "its death":
        withdraw_label(labelled, 1)
    assert go_on(labelled, waiting).state is JobState.FINISHED
    killed, finished = runs(labelled)
    assert (killed.state, killed.model_version) == (RunState.KILLED, None)
    assert "withdrawn" in killed.error
    assert (finished.label_ids, finished.parent_version, finished.model_version) == ([2, 3, 4], None, 2)
    assert [version.version for version in registry.versions(limit=10)] == [2]
    with labelled.read() as session:
        assert {item.model_version for item in session.scalars(select(Promotion))} == {2}


def test_a_version_whose_labels_are_withdrawn_before_its_conclusion_is_not_promoted(labelled, monkeypatch):
    fine_tune(labelled)

    def withdraw_then(catalog: Catalog, version: int, bundle: Path) -> None:
        withdraw_label(catalog, 1)
        with catalog.database.write() as session:
            note_affected(session)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.fine_tune._fill_cache", withdraw_then)
        assert fine_tune(labelled).state is JobState.FINISHED
    registry = registry_of(labelled.settings)
    assert registry.aliases()["champion"] == 1
    tags = registry.get(2).tags
    assert tags["verdict"] == "kept"
    assert tags["verdict.reason"].endswith(", but meanwhile labels that it learnt from were withdrawn")


def test_a_version_that_was_not_noted_to_be_affected_by_a_withdrawal_is_no_parent(labelled):
    fine_tune(labelled)
    withdraw_label(labelled, 1)
    assert fine_tune(labelled).state is JobState.FINISHED
    assert [run.parent_version for run in runs(labelled)] == [None, None]


def test_a_version_that_was_deleted_before_its_conclusion_blocks_no_later_fine_tune(labelled):
    fine_tune(labelled)
    (run,) = runs(labelled)
    reopen(labelled, run)
    with labelled.database.write() as session:
        forget_decisions(session, 1)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    client.delete_model_version(labelled.settings.registered_model, "1")
    failed = fine_tune(labelled)
    assert (failed.state, runs(labelled)[0].state) == (JobState.FAILED, RunState.FAILED)
    assert "there is no version 1" in failed.error
    assert fine_tune(labelled).state is JobState.FINISHED


def interrupt(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """Stop the worker of a fine-tune at its first step; return the run."""
    with monkeypatch.context() as stopping:
        stopping.setattr(TrainingReport, "_note_progress", _stop)
        fine_tune(catalog)
    (run,) = runs(catalog)
    assert (run.state, run.checkpoint_step) == (RunState.INTERRUPTED, 1)
    return run


def _stop(report: TrainingReport, step: StepReport) -> None:
    report._checkpoint(step)
    raise JobInterruptedError("the worker is being stopped")


def test_an_interrupted_run_without_a_validation_scene_is_closed(labelled, monkeypatch):
    run = interrupt(labelled, monkeypatch)
    with labelled.database.write() as session:
        (scene,) = ready_scenes(session, [SceneRole.VALIDATION])
        scene.state = SceneState.REMOVED
    job = fine_tune(labelled)
    assert job.state is JobState.FAILED
    assert "found no ready scene with the role 'validation'" in job.error
    assert runs(labelled)[0].state is RunState.FAILED
    assert mlflow_status(labelled, run) == "FAILED"


@contextmanager
def away(scene: Scene) -> Iterator[None]:
    """Let the file of a scene be elsewhere during the block, as on a disk that is not mounted yet."""
    path = Path(scene.source["bands"][0]["path"])
    elsewhere = path.rename(path.with_name(f"away-{path.name}"))
    try:
        yield
    finally:
        elsewhere.rename(path)


def scene_of(catalog: Catalog, role: SceneRole) -> Scene:
    with catalog.read() as session:
        (scene,) = ready_scenes(session, [role])
    return scene


def go_on(catalog: Catalog, job: Job) -> Job:
    """Do another attempt of a job that waits."""
    with catalog.database.write() as session:
        session.get_one(Job, job.id).run_after = now()
        again = jobs.claim(session, job.id)
    perform(catalog, again)
    return row(catalog, job.id)


@pytest.mark.parametrize("role", [SceneRole.VALIDATION, SceneRole.POOL])
def test_an_interrupted_training_goes_on_when_its_scenes_are_back(labelled, monkeypatch, role):
    """The machine has restarted, and the disk with the only scene of the role is mounted late."""
    run, scene = interrupt(labelled, monkeypatch), scene_of(labelled, role)
    with away(scene):
        waiting = fine_tune(labelled)
        assert (waiting.state, waiting.failures) == (JobState.QUEUED, 0)
        assert Path(scene.source["bands"][0]["path"]).name in waiting.error
        waiting = go_on(labelled, waiting)
        assert (waiting.state, waiting.failures) == (JobState.QUEUED, 0)
    (kept,) = runs(labelled)
    assert (kept.state, kept.checkpoint_step, kept.label_ids) == (RunState.OPEN, 1, [1, 2, 3, 4])
    assert raster_store(labelled).exists(raster_keys.checkpoint(run.id))
    assert take_back(labelled) == [scene.name]
    assert go_on(labelled, waiting).state is JobState.FINISHED
    (finished,) = runs(labelled)
    assert (finished.id, finished.state, finished.model_version) == (run.id, RunState.FINISHED, 1)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    steps = [point.step for point in client.get_metric_history(run.mlflow_run_id, "train.loss")]
    assert steps == sorted(set(steps))  # no step twice


def test_a_training_whose_labels_are_all_set_aside_at_its_start_waits_for_labels(labelled):
    scene = scene_of(labelled, SceneRole.POOL)
    with away(scene):
        waiting = fine_tune(labelled)
        assert (waiting.state, waiting.failures) == (JobState.QUEUED, 0)
        waiting = go_on(labelled, waiting)
        assert (waiting.state, waiting.failures) == (JobState.QUEUED, 0)
        assert "found every label set aside" in waiting.error
        assert "pool.tif" in waiting.error
    assert [(run.state, run.model_version) for run in runs(labelled)] == [(RunState.KILLED, None)]
    assert take_back(labelled) == [scene.name]
    assert go_on(labelled, waiting).state is JobState.FINISHED


def test_an_interrupted_first_training_begins_anew_if_the_network_is_another(labelled, monkeypatch):
    interrupt(labelled, monkeypatch)
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "unet_width": 8})
    assert fine_tune(labelled).state is JobState.FINISHED


def test_what_a_killed_attempt_left_in_mlflow_is_found_and_closed(labelled):
    """It died after MLflow had made the run, or the version, and before the row could note it."""
    fine_tune(labelled)
    (run,) = runs(labelled)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    experiment = client.get_experiment_by_name(labelled.settings.experiment).experiment_id
    with labelled.database.write() as session:
        left = training.begin_run(session, RunTrigger.MANUAL)
    orphan = client.create_run(experiment, tags={UID_TAG: left.uid})
    fine_tune(labelled)
    assert client.get_run(orphan.info.run_id).info.status == "KILLED"
    assert [item.state for item in runs(labelled)] == [RunState.FINISHED, RunState.KILLED, RunState.FINISHED]

    name, source = labelled.settings.registered_model, f"runs:/{run.mlflow_run_id}/bundle"
    with labelled.database.write() as session:
        row = session.get_one(TrainingRun, run.id)
        row.state, row.model_version = RunState.OPEN, None
    ours = client.get_model_version(name, "1").tags
    double = client.create_model_version(name, source, run.mlflow_run_id, tags=ours)  # by a call that was sent twice
    fine_tune(labelled)
    first = runs(labelled)[0]
    assert (first.state, first.model_version) == (RunState.FINISHED, 1)
    assert int(double.version) not in [item.version for item in registry_of(labelled.settings).versions(10)]
    assert {status.info.status for status in client.search_runs([experiment])} == {"FINISHED", "KILLED"}


def test_a_training_whose_worker_is_stopped_goes_on_from_its_checkpoint(labelled, tmp_path):
    log = tmp_path / "worker.log"
    slow = Catalog(Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 1000}))
    with slow.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER)
    with worker(slow, log) as process:
        wait_for("the training", lambda: row(slow, job.id).done > 0, log)
        process.send_signal(signal.SIGTERM)
        wait_for("the hand-over", lambda: row(slow, job.id).state is JobState.QUEUED, log)
        process.wait(WAIT_S)
    handed_back, (interrupted,) = row(slow, job.id), runs(slow)
    assert (handed_back.failures, handed_back.error, interrupted.state) == (0, None, RunState.INTERRUPTED)
    assert 0 < interrupted.checkpoint_step < 1000
    assert mlflow_status(slow, interrupted) == "SCHEDULED"
    with slow.read() as session:
        assert len(training.new_labels(session)) == 4  # nothing has been learnt of them yet
    with worker(slow, log):
        wait_for("the end", lambda: row(slow, job.id).state is JobState.FINISHED, log)
    (finished,) = runs(slow)
    assert (finished.id, finished.state, finished.model_version) == (interrupted.id, RunState.FINISHED, 1)
    assert mlflow_status(slow, finished) == "FINISHED"
    client = MlflowClient(tracking_uri=slow.settings.mlflow_url)
    steps = [point.step for point in client.get_metric_history(finished.mlflow_run_id, "train.loss")]
    assert steps == sorted(set(steps))  # no step twice
    assert steps[-1] == 1000
    assert not raster_store(slow).exists(raster_keys.checkpoint(finished.id))
    slow.close()


def test_a_cancelled_training_ends_and_is_not_begun_again_by_itself(labelled, tmp_path):
    log = tmp_path / "worker.log"
    slow = Catalog(Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 100_000}))
    with slow.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER)
    with worker(slow, log):
        wait_for("the training", lambda: row(slow, job.id).done > 0, log)
        with slow.write() as session:
            failures.cancel(session, job.id)
        wait_for("the end", lambda: row(slow, job.id).state is JobState.CANCELLED, log)
    (run,) = runs(slow)
    assert (run.state, mlflow_status(slow, run)) == (RunState.KILLED, "KILLED")
    with slow.database.write() as session:
        assert training.enqueue_if_due(session, slow.settings.model_copy(update={"fine_tune_after_labels": 1})) is None
    slow.close()


def test_what_mlflow_refuses_is_no_outage(labelled):
    settings = labelled.settings
    tracking = Tracking(settings.mlflow_url, settings.experiment, settings.registered_model)
    with pytest.raises(RegistryError, match="refused"):
        tracking.end_run("0" * 32, "FINISHED")
