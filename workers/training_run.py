"""The two records of a fine-tune, a row of ours and a run in MLflow, kept in step whatever happens in between.

The row comes first and carries a uid, which becomes a tag of the MLflow run as that comes into being. So whatever a
killed process has left in MLflow is found again: a run, or a version that no row knows.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from catalog import training
from catalog.context import Catalog
from catalog.errors import JobCancelledError, JobInterruptedError, JobLostError, ServiceDownError
from catalog.records import RunState, TrainingRun
from catalog.tracking import Tracking
from imagery.errors import StoreError
from models.segmenter import GlacierSegmenter
from models.training import TrainingConfig
from models.training_state import TrainingState, TrainingStateError
from services import raster_keys
from services.places import raster_store
from workers.time_limit import JobTimeLimit

log = logging.getLogger(__name__)

UID_TAG = "training_run_uid"


def tracking_of(catalog: Catalog) -> Tracking:
    """Open MLflow for writing."""
    settings = catalog.settings
    return Tracking(settings.mlflow_url, settings.experiment, settings.registered_model)


def note(catalog: Catalog, run: TrainingRun, **values: object) -> None:
    """Store values in the row of a run, and in the copy of it at hand."""
    with catalog.write() as session:
        row = session.get_one(TrainingRun, run.id)
        for name, value in values.items():
            setattr(row, name, value)
            setattr(run, name, value)


def start_tracking(
    catalog: Catalog, tracking: Tracking, run: TrainingRun, config: TrainingConfig, segmenter: GlacierSegmenter
) -> None:
    """Start the MLflow run, or let that of an interrupted training go on; the row learns its id.

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
    }
    tags = {
        UID_TAG: run.uid,
        "parent_version": str(run.parent_version or ""),
        "trigger": run.trigger.value,
        "labels.sha256": run.labels_sha256,
        "training_run": str(run.id),
    }
    note(catalog, run, mlflow_run_id=tracking.start_run(f"fine-tune {run.id}", parameters, tags))


@contextmanager
def closing(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> Iterator[None]:
    """Close a run that an exception ends, here and in MLflow.

    It is failed if it went wrong, killed if it was cancelled or ran out of time, and interrupted, to go on later, if
    its worker was told to stop. After an outage of MLflow it stays open: the next attempt closes it or goes on.
    """
    try:
        yield
    except ServiceDownError:
        raise
    except JobInterruptedError:
        with catalog.write() as session:
            training.interrupt_run(session, run.id)
        if run.mlflow_run_id is not None:
            tracking.set_run_status(run.mlflow_run_id, "SCHEDULED")
        raise
    except (JobTimeLimit, JobLostError, JobCancelledError) as error:
        close(catalog, tracking, run, RunState.KILLED, str(error))
        raise
    except Exception as error:
        close(catalog, tracking, run, RunState.FAILED, str(error))
        raise


def close(catalog: Catalog, tracking: Tracking, run: TrainingRun, state: RunState, error: str | None = None) -> None:
    """End a run, here and in MLflow, and drop its checkpoint.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    with catalog.write() as session:  # our row first: MLflow may be what went wrong
        training.end_run(session, run.id, state, error)
    drop_checkpoint(catalog, run)
    if run.mlflow_run_id is not None:
        tracking.end_run(run.mlflow_run_id, state.value.upper())


def save_checkpoint(catalog: Catalog, run: TrainingRun, state: TrainingState, fingerprint: str) -> None:
    """Store the state of a training, in place of its earlier one."""
    raster_store(catalog).put(raster_keys.checkpoint(run.id), state.to_bytes(fingerprint))
    note(catalog, run, checkpoint_step=state.step)


def load_checkpoint(catalog: Catalog, run: TrainingRun, fingerprint: str) -> TrainingState | None:
    """Return the stored state of a training; None if there is none that this training can go on from."""
    if run.checkpoint_step is None:
        return None
    try:
        return TrainingState.from_bytes(raster_store(catalog).get(raster_keys.checkpoint(run.id)), fingerprint)
    except (StoreError, TrainingStateError) as error:
        log.warning("training run %d begins anew: %s", run.id, error)
        return None


def drop_checkpoint(catalog: Catalog, run: TrainingRun) -> None:
    """Remove the stored state of a training, if there is one."""
    store, key = raster_store(catalog), raster_keys.checkpoint(run.id)
    if store.exists(key):
        store.delete(key)
