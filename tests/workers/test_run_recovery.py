"""What becomes of a run whose attempt ended early, with a real MLflow or none."""

import errno
import os
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from catalog import failures, jobs, labels, training, withdrawals
from catalog.context import Catalog
from catalog.errors import (
    DecisionUnderwayError,
    JobCancelledError,
    JobInterruptedError,
    JobLostError,
    ServiceDownError,
    SetAsideError,
)
from catalog.records import JobKind, Label, RunState, RunTrigger, TrainingRun, now
from catalog.tracking import Tracking
from catalog.withdrawal_records import Withdrawal
from imagery.errors import DamagedFileError, UnreadableFileError
from imagery.store import RasterStore
from services import raster_keys
from services.places import raster_store
from tests.catalog_fixtures import NOBODY, add_round, add_scene, label_of
from workers.mend_files import mend
from workers.run_recovery import recover
from workers.run_tracking import UID_TAG
from workers.training_run import close, note_version, recording_failure

DOWN = Tracking(NOBODY, "experiment", "model")


@pytest.fixture
def tracking(mlflow_server: str) -> Tracking:
    return Tracking(mlflow_server, uuid4().hex, "model")


@pytest.fixture
def run(catalog: Catalog) -> TrainingRun:
    """An open run with a checkpoint, which MLflow has not heard of."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        labels.store(session, label_of(session, proposal, 1))
        begun = training.begin_run(session, RunTrigger.MANUAL)
        begun.checkpoint_step = 3
    raster_store(catalog).put(raster_keys.checkpoint(begun.id), b"state")
    return begun


def begin_in_mlflow(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> None:
    with catalog.database.write() as session:
        run.mlflow_run_id = tracking.start_run("fine-tune", {}, {})
        session.get_one(TrainingRun, run.id).mlflow_run_id = run.mlflow_run_id


def state(catalog: Catalog, run: TrainingRun) -> RunState:
    with catalog.read() as session:
        return session.get_one(TrainingRun, run.id).state


def has_checkpoint(catalog: Catalog, run: TrainingRun) -> bool:
    return raster_store(catalog).exists(raster_keys.checkpoint(run.id))


def test_an_attempt_that_lost_its_job_leaves_the_run_to_its_successor(catalog, run):
    with pytest.raises(JobLostError), recording_failure(catalog, DOWN, run):
        raise JobLostError("given away")
    assert state(catalog, run) is RunState.OPEN
    assert has_checkpoint(catalog, run)


def test_a_run_that_has_ended_is_not_interrupted(catalog, run):
    with catalog.database.write() as session:
        training.end_run(session, run.id, RunState.FINISHED)
    with pytest.raises(JobInterruptedError), recording_failure(catalog, DOWN, run):
        raise JobInterruptedError("stopped")
    assert state(catalog, run) is RunState.FINISHED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (JobCancelledError("cancelled"), RunState.KILLED),
        (ValueError("wrong"), RunState.FAILED),
        (JobInterruptedError("stopped"), RunState.INTERRUPTED),
    ],
    ids=["cancelled", "failed", "interrupted"],
)
def test_an_outage_of_mlflow_does_not_hide_why_a_training_ended(catalog, tracking, run, error, ended):
    begin_in_mlflow(catalog, tracking, run)
    with pytest.raises(type(error)), recording_failure(catalog, DOWN, run):
        raise error
    assert state(catalog, run) is ended
    status = recovered_status(catalog, tracking, run)
    assert status == ("RUNNING" if ended is RunState.INTERRUPTED else ended.value.upper())


def recovered_status(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> str:
    """Return the status in MLflow after the next attempt has looked for what was left."""
    recover(catalog, tracking)
    return str(MlflowClient(tracking.url).get_run(run.mlflow_run_id).info.status)


@pytest.mark.slow
def test_a_run_stays_open_until_mlflow_knows_that_it_is_finished(catalog, tracking, run):
    begin_in_mlflow(catalog, tracking, run)
    with pytest.raises(ServiceDownError):
        close(catalog, DOWN, run, RunState.FINISHED)
    assert state(catalog, run) is RunState.OPEN
    close(catalog, tracking, run, RunState.FINISHED)
    assert state(catalog, run) is RunState.FINISHED
    assert tracking.has_ended(run.mlflow_run_id)


@pytest.mark.slow
@pytest.mark.parametrize("ended", [RunState.FINISHED, RunState.KILLED])
def test_a_run_that_somebody_deleted_in_mlflow_ends_nevertheless(catalog, tracking, run, ended):
    """Its version may be served already, and the next fine-tune is not to fail."""
    begin_in_mlflow(catalog, tracking, run)
    MlflowClient(tracking.url).delete_run(run.mlflow_run_id)
    close(catalog, tracking, run, ended)
    assert state(catalog, run) is ended
    assert not has_checkpoint(catalog, run)


@pytest.mark.parametrize(
    "error",
    [OperationalError("commit", {}, Exception("gone")), ValueError("wrong"), JobCancelledError("cancelled")],
    ids=["database", "fault", "cancelled"],
)
def test_a_run_whose_version_is_registered_is_left_to_be_concluded(catalog, run, error):
    """It may be served already: nothing that fails afterwards makes it a failure."""
    with pytest.raises(type(error)), recording_failure(catalog, DOWN, run):
        note_version(catalog, run, 8, {})
        raise error
    assert state(catalog, run) is RunState.OPEN
    assert has_checkpoint(catalog, run)
    assert run.model_version == 8


def test_a_registered_run_that_cannot_be_concluded_does_not_stop_the_next_ones(catalog, run):
    note_version(catalog, run, 8, {})
    with pytest.raises(ValueError, match="wrong"), recording_failure(catalog, DOWN, run, concluding=True):
        raise ValueError("wrong")
    assert state(catalog, run) is RunState.FAILED


PASSING = {
    "database away": OperationalError("select", {}, Exception("gone")),
    "MLflow away": ServiceDownError("MLflow", NOBODY, "refused"),
    "scenes set aside": SetAsideError("found every scene set aside"),
    "no memory": MemoryError(),
    "no file handles": UnreadableFileError("/a.tif", "/a.tif: Too many open files"),
    "GPU without memory": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "damaged file": DamagedFileError("scenes/1/truth.tif", "scenes/1/truth.tif is damaged"),
    "another decision": DecisionUnderwayError("another decision is being carried out"),
}


@pytest.mark.parametrize("concluding", [False, True])
@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
def test_an_error_that_passes_by_itself_costs_no_checkpoint(catalog, run, error, concluding):
    with pytest.raises(type(error)), recording_failure(catalog, DOWN, run, concluding=concluding):
        raise error
    assert state(catalog, run) is RunState.OPEN
    assert has_checkpoint(catalog, run)


@pytest.mark.parametrize(("concluding", "ended"), [(False, RunState.OPEN), (True, RunState.FAILED)])
def test_a_scene_that_cannot_be_read_is_left_out_by_the_next_attempt_if_there_is_one(catalog, run, concluding, ended):
    with pytest.raises(UnreadableFileError), recording_failure(catalog, DOWN, run, concluding=concluding):
        raise UnreadableFileError("/a.tif", "/a.tif: found no such file")
    assert state(catalog, run) is ended
    assert has_checkpoint(catalog, run) is not concluding


@pytest.mark.parametrize("is_concluded", [True, False])
def test_a_version_that_comes_too_late_is_not_noted(catalog, run, is_concluded):
    """A process that was suspended while it registered a version wakes up after another has done so."""
    note_version(catalog, run, 8, {})
    if is_concluded:
        close(catalog, DOWN, run, RunState.FINISHED)
    with pytest.raises(JobLostError, match="version 9 came too late"):
        note_version(catalog, run, 9, {})
    with catalog.read() as session:
        assert session.get_one(TrainingRun, run.id).model_version == 8


def test_a_checkpoint_that_the_store_keeps_for_now_is_removed_later(catalog, run, monkeypatch):
    def refuse(self: RasterStore, key: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), key)

    with monkeypatch.context() as read_only:
        read_only.setattr(RasterStore, "delete", refuse)
        close(catalog, DOWN, run, RunState.FINISHED)
        mend(catalog, lambda *_: None)  # goes on without cleaning up
    assert state(catalog, run) is RunState.FINISHED
    assert has_checkpoint(catalog, run)
    mend(catalog, lambda *_: None)
    assert not has_checkpoint(catalog, run)


def test_the_checkpoint_of_an_open_run_is_not_removed(catalog, run):
    mend(catalog, lambda *_: None)
    assert has_checkpoint(catalog, run)


@pytest.mark.slow
def test_an_interrupted_run_whose_job_is_cancelled_is_not_resumed(catalog, tracking, run):
    begin_in_mlflow(catalog, tracking, run)
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand").id)
        training.interrupt_run(session, run.id)
        jobs.hand_back(session, job.id, job.attempt)
    with catalog.database.write() as session:
        failures.cancel(session, job.id)
    assert recover(catalog, tracking) is None
    with catalog.read() as session:
        killed = session.get_one(TrainingRun, run.id)
    assert (killed.state, killed.error) == (RunState.KILLED, "cancelled by a person")
    assert not has_checkpoint(catalog, run)


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_version_that_a_killed_attempt_registered_is_noted_unless_its_labels_were_withdrawn(
    catalog, tracking, run, withdrawn, interrupted
):
    tracking.model_name = uuid4().hex
    begin_in_mlflow(catalog, tracking, run)
    client = MlflowClient(tracking.url)
    client.create_registered_model(tracking.model_name)
    source = f"runs:/{run.mlflow_run_id}/bundle"
    client.create_model_version(tracking.model_name, source, run.mlflow_run_id, tags={"size_bytes": "1"})
    with catalog.database.write() as session:
        if interrupted:
            training.interrupt_run(session, run.id)
        if withdrawn:
            label = session.get_one(Label, run.label_ids[0])
            withdrawal = Withdrawal(annotator=label.annotator, reason="shifted", actor="olga", withdrawn_at=now())
            withdrawals.withdraw(session, withdrawal, [label])
    left = recover(catalog, tracking)
    with catalog.read() as session:
        row = session.get_one(TrainingRun, run.id)
    if withdrawn:
        assert left is None
        assert (row.state, row.model_version) == (RunState.KILLED, None)
        assert "were withdrawn" in row.error
        assert tracking.versions_of_run(run.mlflow_run_id) == []
        assert client.get_run(run.mlflow_run_id).info.status == "KILLED"
    else:
        assert (left.id, left.model_version) == (run.id, 1)
        assert (row.state, row.model_version) == (RunState.OPEN, 1)
        assert tracking.versions_of_run(run.mlflow_run_id) == [1]
    assert has_checkpoint(catalog, run) is not withdrawn


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["while the run lasts", "after its end"])
def test_what_a_repeated_call_made_beside_a_run_is_removed(catalog, tracking, run, late):
    """MLflow's client repeats a call whose answer is lost, so that a run or a version may exist twice."""
    tracking.model_name = uuid4().hex
    client = MlflowClient(tracking.url)
    client.create_registered_model(tracking.model_name)

    def create_run() -> str:
        return tracking.start_run("fine-tune", {}, {UID_TAG: run.uid})

    def create_version(run_id: str, tags: dict[str, str] | None = None) -> int:
        source = f"runs:/{run_id}/bundle"
        return int(client.create_model_version(tracking.model_name, source, run_id, tags=tags).version)

    ours, own = {"size_bytes": "1"}, create_run()
    version = create_version(own, ours)
    with catalog.database.write() as session:
        row = session.get_one(TrainingRun, run.id)
        row.mlflow_run_id, row.model_version = own, version
    if late:
        close(catalog, tracking, row, RunState.FINISHED)
    surplus, _ = create_run(), create_version(own, ours)
    named, by_a_person = create_version(own, ours), create_version(own)
    client.set_registered_model_alias(tracking.model_name, "my-choice", str(named))
    if late:
        recover(catalog, tracking)
    else:
        close(catalog, tracking, row, RunState.FINISHED)
    assert [client.get_run(run_id).info.status for run_id in (own, surplus)] == ["FINISHED", "KILLED"]
    assert tracking.versions_of_run(own) == [version, named]
    assert client.get_model_version(tracking.model_name, str(by_a_person)).run_id == own
