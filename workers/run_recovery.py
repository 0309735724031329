"""Recover the run that an interrupted or killed fine-tune left behind."""

import logging

from sqlalchemy import select

from catalog import training
from catalog.context import Catalog
from catalog.errors import LabelsWithdrawnError, RegistryError
from catalog.records import RunState, TrainingRun
from catalog.tracking import Tracking
from workers.run_tracking import UID_TAG
from workers.training_run import close, drop_checkpoint, note, note_version, remove_surplus

log = logging.getLogger(__name__)


def recover(catalog: Catalog, tracking: Tracking) -> TrainingRun | None:
    """Return the unfinished run, if there is one that can be concluded or resumed.

    Returns:
        The run if its version is registered, so that only its conclusion is missing, or if it has a checkpoint. None if
        there is no unfinished run, or it had neither and was closed as killed, or its version was registered and not
        noted, and labels that it learnt from were withdrawn since: then it is deleted, and the run closed.

    Raises:
        JobLostError: the run has ended meanwhile: its job was cancelled or given up.
        ServiceDownError: MLflow does not answer.
    """
    _settle_last(catalog, tracking)
    with catalog.read() as session:
        left = training.unfinished_run(session)
    if left is None:
        return None
    with catalog.write() as session:
        training.resume_run(session, left.id)
    try:
        _find_orphans(catalog, tracking, left)
    except LabelsWithdrawnError as error:
        remove_surplus(tracking, left)  # the version, which the row does not name
        close(catalog, tracking, left, RunState.KILLED, str(error))
        return None
    if left.model_version is None and left.checkpoint_step is None:
        close(catalog, tracking, left, RunState.KILLED, "it was interrupted before its first checkpoint")
        return None
    return left


def _settle_last(catalog: Catalog, tracking: Tracking) -> None:
    """Do for the last run that ended what was not done then, and remove what calls made that came late.

    A run that ended with its job, without a worker, still has its checkpoint, and MLflow does not know of its end.
    """
    ended = select(TrainingRun).where(TrainingRun.state.in_(training.ENDED))
    with catalog.read() as session:
        last = session.scalar(ended.order_by(TrainingRun.id.desc()).limit(1))
    if last is None:
        return
    drop_checkpoint(catalog, last)
    try:
        remove_surplus(tracking, last)
        if last.mlflow_run_id is not None and not tracking.has_ended(last.mlflow_run_id):
            tracking.end_run(last.mlflow_run_id, last.state.value.upper())
    except RegistryError as error:  # someone deleted it
        log.warning("the MLflow run of training run %d could not be ended: %s", last.id, error)


def _find_orphans(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> None:
    """Store the MLflow run and version that a killed process created but could not store.

    Raises:
        JobLostError: the run was concluded meanwhile, or its version noted.
        LabelsWithdrawnError: labels that the version or its parent learnt from were withdrawn.
    """
    if run.mlflow_run_id is None:
        for run_id in tracking.runs_tagged(UID_TAG, run.uid)[:1]:
            note(catalog, run, mlflow_run_id=run_id)
    if run.mlflow_run_id is not None and run.model_version is None:
        for version in tracking.versions_of_run(run.mlflow_run_id)[:1]:
            note_version(catalog, run, version)
    remove_surplus(tracking, run)
