"""Keep the two records of a fine-tune consistent: our row and the run in MLflow.

The row is committed first. Its uid becomes a tag of the MLflow run when that is created, so that a run or version that
a killed process left in MLflow can be found by it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from catalog import training
from catalog.context import Catalog
from catalog.errors import (
    JobCancelledError,
    JobInterruptedError,
    JobLostError,
    LabelsWithdrawnError,
    RegistryError,
    ServiceDownError,
)
from catalog.installation import lock_installation
from catalog.logs import bound
from catalog.records import RunState, TrainingRun
from catalog.tracking import Tracking
from catalog.withdrawals import check_standing
from imagery.errors import StoreError, UnreadableFileError
from models.segmenter import GlacierSegmenter
from models.training_config import TrainingConfig
from models.training_state import TrainingState, TrainingStateError
from services import raster_keys
from services.places import raster_store
from workers.passing_errors import may_pass
from workers.run_tracking import UID_TAG
from workers.time_limit import JobTimeLimit

log = logging.getLogger(__name__)


def note(catalog: Catalog, run: TrainingRun, **values: object) -> None:
    """Set attributes of a run, in the database and in the object passed."""
    with catalog.write() as session:
        row = session.get_one(TrainingRun, run.id)
        for name, value in values.items():
            setattr(row, name, value)
            setattr(run, name, value)


def note_version(catalog: Catalog, run: TrainingRun, version: int, seconds: Mapping[str, float] | None = None) -> None:
    """Store the version that was registered of a run.

    Args:
        catalog: The catalog.
        run: The run.
        version: Its version.
        seconds: How long each part of the training took; None if it is not known, because the attempt was killed.

    Raises:
        JobLostError: another worker has concluded the run meanwhile, or registered another version of it: this process
            was suspended in between.
        LabelsWithdrawnError: labels that it or its parent learnt from were withdrawn since it was checked.
    """
    with catalog.write() as session:
        lock_installation(session)
        row = session.get_one(TrainingRun, run.id, with_for_update=True, populate_existing=True)
        if row.state is not RunState.OPEN or row.model_version is not None:
            raise JobLostError(
                f"training run {run.id} is {row.state.value} with version {row.model_version}; version {version} came "
                "too late"
            )
        check_standing(session, row)
        row.model_version = version
        if seconds is not None:
            row.seconds = dict(seconds)
    run.model_version, run.seconds = row.model_version, row.seconds


def start_tracking(
    catalog: Catalog,
    tracking: Tracking,
    run: TrainingRun,
    config: TrainingConfig,
    segmenter: GlacierSegmenter,
    further: Mapping[str, object],
) -> None:
    """Start the MLflow run and store its id, or resume the MLflow run of an interrupted training.

    Args:
        catalog: The catalog.
        tracking: MLflow.
        run: The run.
        config: How it trains.
        segmenter: What it trains.
        further: Further parameters to show in MLflow.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    if run.mlflow_run_id is not None:
        tracking.set_run_status(run.mlflow_run_id, "RUNNING")
        return
    parameters = {
        **config.to_json(),
        **{f"unet.{name}": value for name, value in segmenter.unet.config.to_json().items()},
        "head": segmenter.head,
        "input_normalization": segmenter.input_normalization,
        "channels": ",".join(segmenter.channels),
        "labels": len(run.label_ids),
        **further,
    }
    tags = {
        UID_TAG: run.uid,
        "parent_version": str(run.parent_version or ""),
        "trigger": run.trigger.value,
        "labels.sha256": run.labels_sha256,
        "training_run": str(run.id),
    }
    note(catalog, run, mlflow_run_id=tracking.start_run(f"fine-tune {run.id}", parameters, tags))


def remove_surplus(tracking: Tracking, run: TrainingRun) -> None:
    """Close the MLflow runs and delete the versions that our calls made beside the ones that the row names.

    A call whose answer is lost is repeated, by MLflow's client or by the next attempt, and may then have been done
    twice. A call that the network delays may even be done when its client has long given up.

    Raises:
        RegistryError: MLflow refused.
        ServiceDownError: MLflow does not answer.
    """
    for run_id in tracking.runs_tagged(UID_TAG, run.uid):
        if run_id != run.mlflow_run_id and not tracking.has_ended(run_id):
            tracking.end_run(run_id, RunState.KILLED.value.upper())
    if run.mlflow_run_id is None:
        return
    surplus = [version for version in tracking.versions_of_run(run.mlflow_run_id) if version != run.model_version]
    if surplus:
        tracking.delete_unnamed(surplus)


@contextmanager
def recording_failure(
    catalog: Catalog, tracking: Tracking, run: TrainingRun, *, concluding: bool = False
) -> Iterator[None]:
    """Set the state of a run, in our row and in MLflow, if the block raises. Its log lines have the field ``run``.

    - Interrupted, to resume later: its worker is shutting down.
    - Killed: it was cancelled, it ran out of time, or its labels were withdrawn.
    - Unchanged: the error may pass by itself (`workers.passing_errors.may_pass`), e.g. MLflow is down or every
      validation scene is set aside, and the next attempt resumes or closes the run; or a file of a scene cannot be
      read, and the next attempt goes on without the scene; or the job was given to another worker, which has the run
      now; or the version is registered, whatever came after that: it may be served already, and the next attempt
      concludes the run. If there is no next attempt, the run is closed with its job
      (`catalog.training.discard_unfinished_run`).
    - Failed: any other error.

    The error of the block is raised even if MLflow does not answer meanwhile.

    Args:
        catalog: The catalog.
        tracking: MLflow.
        run: The run.
        concluding: Whether this is the attempt that concludes a run whose version is registered: there is no further
            one, so that an error that lasts ends the run.
    """
    try:
        with bound(run=run.id):
            yield
    except JobLostError:
        raise
    except (Exception, JobTimeLimit) as error:
        if may_pass(error) or (isinstance(error, UnreadableFileError) and not concluding):
            raise
        if run.model_version is not None and not concluding:
            log.warning("training run %d stays open, to be concluded: %s", run.id, error)
            raise
        _record_failure(catalog, tracking, run, error)
        raise


def _record_failure(catalog: Catalog, tracking: Tracking, run: TrainingRun, error: BaseException) -> None:
    run_id, reason = run.mlflow_run_id, str(error)
    if isinstance(error, JobInterruptedError):
        with catalog.write() as session:
            training.interrupt_run(session, run.id)
        if run_id is not None:
            _despite_outage(lambda: tracking.set_run_status(run_id, "SCHEDULED"))
    elif isinstance(error, JobTimeLimit | JobCancelledError | LabelsWithdrawnError):
        _despite_outage(lambda: close(catalog, tracking, run, RunState.KILLED, reason))
    else:
        _despite_outage(lambda: close(catalog, tracking, run, RunState.FAILED, reason))


def _despite_outage(report: Callable[[], None]) -> None:
    """Report the end of a run to MLflow; an outage or a refusal must not hide the error that ended it."""
    try:
        report()
    except (ServiceDownError, RegistryError) as error:
        log.warning("the end of a training run could not be reported: %s", error)


def close(catalog: Catalog, tracking: Tracking, run: TrainingRun, state: RunState, error: str | None = None) -> None:
    """Set the final state of a run, in our row and in MLflow, and delete its checkpoint.

    MLflow first if the run is finished: if it does not answer, the run stays open, and the next attempt closes it. Our
    row first if the run failed or was killed: the next call of `workers.run_recovery.recover` tells MLflow. That MLflow
    refuses, e.g. because somebody deleted the run there, does not undo the end: the version may be served already.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    if state is RunState.FINISHED:
        _end_in_mlflow(tracking, run, state)
    with catalog.write() as session:
        training.end_run(session, run.id, state, error)
    drop_checkpoint(catalog, run)
    if state is not RunState.FINISHED:
        _end_in_mlflow(tracking, run, state)


def _end_in_mlflow(tracking: Tracking, run: TrainingRun, state: RunState) -> None:
    if run.mlflow_run_id is None:
        return
    try:
        if state is RunState.FINISHED:
            remove_surplus(tracking, run)
        tracking.end_run(run.mlflow_run_id, state.value.upper())
    except RegistryError as refusal:  # e.g. somebody deleted the run in MLflow's page
        log.warning("training run %d is %s, although MLflow does not note it: %s", run.id, state.value, refusal)


def save_checkpoint(catalog: Catalog, run: TrainingRun, state: TrainingState, fingerprint: str) -> None:
    """Store a checkpoint, replacing the earlier one."""
    raster_store(catalog).put(raster_keys.checkpoint(run.id), state.to_bytes(fingerprint))
    note(catalog, run, checkpoint_step=state.step)


def load_checkpoint(catalog: Catalog, run: TrainingRun, fingerprint: str) -> TrainingState | None:
    """Return the checkpoint of a run; None if there is none, or it belongs to another training configuration."""
    if run.checkpoint_step is None:
        return None
    try:
        return TrainingState.from_bytes(raster_store(catalog).get(raster_keys.checkpoint(run.id)), fingerprint)
    except (StoreError, TrainingStateError) as error:
        log.warning("training run %d begins anew: %s", run.id, error)
        return None


def drop_checkpoint(catalog: Catalog, run: TrainingRun) -> None:
    """Delete the checkpoint of a run, if there is one.

    A run that has ended stays so if the store refuses, e.g. because it is read-only: it is deleted with the next
    cleaning up then (`services.stored_files.left_checkpoints`).
    """
    store, key = raster_store(catalog), raster_keys.checkpoint(run.id)
    try:
        if store.exists(key):
            store.delete(key)
    except (OSError, StoreError) as error:
        log.warning("the checkpoint of training run %d is deleted later: %s", run.id, error)
