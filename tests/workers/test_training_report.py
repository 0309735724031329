"""What is noted of a training, with a real job row, and a real MLflow or none."""

from uuid import uuid4

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import JobInterruptedError, JobLostError
from catalog.records import Job, JobKind
from catalog.tracking import Tracking
from models.training import StepReport
from models.training_state import TrainingState
from tests.catalog_fixtures import NOBODY
from workers import interruption, training_report
from workers.jobs import JobContext
from workers.training_report import TrainingReport


@pytest.fixture
def context(catalog: Catalog) -> JobContext:
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand").id)
    assert job is not None
    return JobContext(catalog, job)


def job_of(context: JobContext) -> Job:
    with context.catalog.read() as session:
        return session.get_one(Job, context.job_id)


def no_checkpoint(state: TrainingState) -> None:
    raise AssertionError("no checkpoint is due in the first minute")


def train(report: TrainingReport, steps: int) -> None:
    for step in range(1, steps + 1):
        report(StepReport(step, steps, loss=1.0 / step, learned={"a1": float(step)}))


@pytest.mark.slow
def test_every_tenth_step_and_the_last_become_points_of_the_curves(context, mlflow_server):
    name = uuid4().hex
    tracking = Tracking(mlflow_server, name, name)
    run_id = tracking.start_run("fine-tune", {}, {})
    train(TrainingReport(context, tracking, run_id, no_checkpoint), 25)
    client = MlflowClient(mlflow_server)
    losses = client.get_metric_history(run_id, "train.loss")
    learned = client.get_metric_history(run_id, "train.a1")
    assert [(point.step, point.value) for point in losses] == [(10, 0.1), (20, 0.05), (25, 0.04)]
    assert [(point.step, point.value) for point in learned] == [(10, 10), (20, 20), (25, 25)]


@pytest.mark.slow
def test_an_mlflow_that_is_down_stops_no_training(context):
    train(TrainingReport(context, Tracking(NOBODY, "experiment", "model"), "0" * 32, no_checkpoint), 25)
    found = job_of(context)
    assert (found.done, found.total, found.message) == (25, 25, "training: loss 0.0400")


def test_the_first_step_shows_and_a_job_that_was_given_away_stops(context):
    report = TrainingReport(context, Tracking(NOBODY, "experiment", "model"), "0" * 32, no_checkpoint)
    report(StepReport(1, 5, 2.0))
    assert (job_of(context).done, job_of(context).total) == (1, 5)
    with context.catalog.database.write() as session:
        row = session.get_one(Job, context.job_id)
        row.attempt += 1  # another worker has claimed it
    report = TrainingReport(context, Tracking(NOBODY, "experiment", "model"), "0" * 32, no_checkpoint)
    with pytest.raises(JobLostError):
        report(StepReport(2, 5, 2.0))


def test_a_checkpoint_is_saved_now_and_then_and_when_the_worker_is_stopped(context, monkeypatch):
    saved: list[TrainingState] = []
    state = TrainingState(7, {}, {})
    report = TrainingReport(context, Tracking(NOBODY, "experiment", "model"), "0" * 32, saved.append)
    monkeypatch.setattr(training_report, "SEND_EVERY_S", 0.0)
    report(StepReport(1, 50, 2.0, state=lambda: state))
    assert saved == []
    monkeypatch.setattr(report, "_save_at", 0.0)  # the minute is over
    report(StepReport(2, 50, 2.0, state=lambda: state))
    assert saved == [state]
    report(StepReport(3, 50, 2.0, state=lambda: state))
    assert saved == [state]
    monkeypatch.setattr(interruption, "is_requested", lambda: True)
    with pytest.raises(JobInterruptedError):
        report(StepReport(4, 50, 2.0, state=lambda: state))
    assert saved == [state, state]


@pytest.mark.parametrize(
    "error",
    [OSError("no space left"), OperationalError("UPDATE", {}, Exception("restarting"))],
    ids=["disk", "database"],
)
def test_a_checkpoint_that_cannot_be_saved_ends_no_training(context, monkeypatch, caplog, error):
    def refuse(state: TrainingState) -> None:
        raise error

    report = TrainingReport(context, Tracking(NOBODY, "experiment", "model"), "0" * 32, refuse)
    monkeypatch.setattr(report, "_save_at", 0.0)
    report(StepReport(1, 50, 2.0, state=lambda: TrainingState(1, {}, {})))
    assert job_of(context).done == 1
    assert "the checkpoint of step 1 could not be saved" in caplog.text
