"""Have a scene predicted by a model version: find the stored files, or enqueue the job that makes them."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError, QueueFullError
from catalog.job_queue import ASKED_BY_READERS
from catalog.records import Job, JobKind, JobState, Scene, SceneState
from services.delivery import DeliveryOptions, fingerprint, prediction_keys
from services.places import raster_store

_WHAT: Final = {JobKind.PREDICT_SCENE: "prediction", JobKind.EXPORT_GLIMS: "GLIMS package"}


def check_ready(scene: Scene) -> None:
    """Refuse a scene that cannot be predicted yet.

    Raises:
        ConflictError: the scene is not ready.
    """
    if scene.state is not SceneState.READY:
        raise ConflictError(f"scene {scene.id} is {scene.state.value}; wait until it is ready")


def is_predicted(catalog: Catalog, scene: Scene, version: int, options: DeliveryOptions) -> bool:
    """Return whether every file of the scene by this version is stored."""
    store = raster_store(catalog)
    return all(store.exists(key) for key in prediction_keys(scene, version, options).values())


def enqueue_prediction(
    session: Session, scene: Scene, version: int, options: DeliveryOptions, at_once: int | None = None
) -> Job:
    """Enqueue the prediction of a scene unless it is under way; one that failed is only repeated by a retry.

    Args:
        session: a writing session.
        scene: a ready scene.
        version: number of the model version.
        options: what shapes the files.
        at_once: how many predictions may wait or run before another one is refused; None: any number.

    Raises:
        ConflictError: the last job for the same files failed or was cancelled.
        QueueFullError: as many predictions wait or run as may at once, and this is none of them.
    """
    key = f"{scene.id}-{version}-{fingerprint(scene, options)}"
    subject = {"scene_id": scene.id, "delivery": options.model_dump(mode="json"), "version": version}
    return enqueue_asked(session, JobKind.PREDICT_SCENE, key, at_once, subject)


def enqueue_asked(session: Session, kind: JobKind, key: str, at_once: int | None, subject: Mapping[str, Any]) -> Job:
    """Enqueue a job that makes a file that somebody asks for, unless it is under way.

    Args:
        session: a writing session.
        kind: one of `catalog.job_queue.ASKED_BY_READERS`.
        key: of the file; see `catalog.jobs.enqueue`.
        at_once: how many such jobs may wait or run before another one is refused; None: any number.
        subject: the arguments of the job.

    Raises:
        ConflictError: the last job for the same file failed or was cancelled.
        QueueFullError: as many wait or run as may at once, and this is none of them.
    """
    last = jobs.last_of(session, kind, key)
    what = _WHAT[kind]
    # A client that polls must not start again what failed or what a person cancelled.
    if last is not None and last.state is JobState.FAILED:
        raise ConflictError(f"the {what} failed: {last.error}; once that is mended retry the job {last.id}")
    if last is not None and last.state is JobState.CANCELLED:
        raise ConflictError(f"the {what} was cancelled; to have it made after all retry the job {last.id}")
    if at_once is not None and (last is None or last.state not in jobs.OPEN):
        check_room(session, at_once)
    return jobs.enqueue(session, kind, key, **subject)


def check_room(session: Session, at_once: int) -> None:
    """Refuse a further job of a reader while many wait.

    Raises:
        QueueFullError: as many wait or run as may at once.
    """
    of_kind = select(func.count(Job.id)).where(Job.kind.in_(ASKED_BY_READERS), Job.state.in_(jobs.OPEN))
    waiting = session.scalar(of_kind) or 0
    if waiting >= at_once:
        raise QueueFullError(
            f"{waiting} predictions wait or run, and no more are taken on at once (setting predictions_at_once: "
            f"{at_once}); ask again when one of them has ended"
        )
