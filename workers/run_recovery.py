"""Recover the run that an interrupted or killed fine-tune left behind."""

import logging

from sqlalchemy import select

from catalog import training
from catalog.context import Catalog
from catalog.errors import RegistryError
from catalog.records import RunState, TrainingRun
from catalog.tracking import Tracking
from workers.training_run import UID_TAG, close, note

log = logging.getLogger(__name__)


def recover(catalog: Catalog, tracking: Tracking) -> TrainingRun | None:
    """Return the unfinished run, if there is one that can be concluded or resumed.

    Returns:
        The run if its version is registered, so that only its conclusion is missing, or if it has a checkpoint. None if
        there is no unfinished run, or it had neither and was closed as killed.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    _report_end_of_last(catalog, tracking)
    with catalog.read() as session:
        left = training.unfinished_run(session)
    if left is None:
        return None
    _find_orphans(catalog, tracking, left)
    if left.model_version is None and left.checkpoint_step is None:
        close(catalog, tracking, left, RunState.KILLED, left.error or "it was interrupted before its first checkpoint")
        return None
    with catalog.write() as session:
        training.resume_run(session, left.id)
    return left


def _report_end_of_last(catalog: Catalog, tracking: Tracking) -> None:
    """End the MLflow run of the last failed or killed run, if MLflow was down when it ended."""
    unsuccessful = select(TrainingRun).where(TrainingRun.state.in_((RunState.FAILED, RunState.KILLED)))
    with catalog.read() as session:
        last = session.scalar(unsuccessful.order_by(TrainingRun.id.desc()).limit(1))
    if last is None or last.mlflow_run_id is None:
        return
    try:
        if not tracking.has_ended(last.mlflow_run_id):
            tracking.end_run(last.mlflow_run_id, last.state.value.upper())
    except RegistryError as error:  # someone deleted it
        log.warning("the MLflow run of training run %d could not be ended: %s", last.id, error)


def _find_orphans(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> None:
    """Store the MLflow run and version that a killed process created but could not store; delete duplicates."""
    for run_id in tracking.runs_tagged(UID_TAG, run.uid):
        if run.mlflow_run_id is None:
            note(catalog, run, mlflow_run_id=run_id)
        elif run_id != run.mlflow_run_id:
            tracking.end_run(run_id, RunState.KILLED.value.upper())
    if run.mlflow_run_id is None:
        return
    for version in tracking.versions_of_run(run.mlflow_run_id):
        if run.model_version is None:
            note(catalog, run, model_version=version)
        elif version != run.model_version:
            tracking.delete_version(version)
