"""Failure, cancellation and retry of jobs, with their effect on what the job is about."""

from sqlalchemy.orm import Session

from catalog import jobs, labels, rounds, scene_requests, training
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Scene, SceneState


def note_failure(session: Session, job: Job, error: str, max_failures: int) -> None:
    """Queue a failed job again; at ``max_failures`` fail it for good and store the error in its round, event or scene.

    Raises:
        JobLostError: the job was given to another worker.
    """
    if not jobs.try_again(session, job.id, job.attempt, error, max_failures):
        _note_end(session, job, error)


def cancel(session: Session, job_id: str) -> Job:
    """Cancel a queued job, or ask a running one to stop.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has already ended.
    """
    job = jobs.request_cancel(session, job_id)
    if job.state is JobState.CANCELLED:
        _note_end(session, job, jobs.CANCELLED)
    return job


def note_cancelled(session: Session, job: Job) -> None:
    """Mark a running job as cancelled after it has stopped.

    Raises:
        JobLostError: the job was given to another worker.
    """
    jobs.note_cancelled(session, job.id, job.attempt)
    _note_end(session, job, jobs.CANCELLED)


def _note_end(session: Session, job: Job, error: str) -> None:
    """Store the error in the round, label event, scene or request for a scene that the job is about.

    The training run that a fine-tune has left unfinished is closed: it would keep its scenes from being replaced.
    """
    if "round_id" in job.subject:
        rounds.mark_failed(session, job.subject["round_id"], error)
    if "event_id" in job.subject:
        labels.mark_failed(session, job.subject["event_id"], error)
    if "scene_request_id" in job.subject:
        scene_requests.refuse(session, job.subject["scene_request_id"], error)
    if job.kind is JobKind.TILE_SCENE:
        session.get_one(Scene, job.subject["scene_id"]).error = error
    if job.kind is JobKind.FINE_TUNE:
        training.discard_unfinished_run(session, error)


def retry(session: Session, job_id: str) -> Job:
    """Queue a failed or cancelled job again, and return its round or label event to the state before the job.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has neither failed nor been cancelled, another job with its key is open, or its scene was
            rejected.
    """
    job = jobs.retry(session, job_id)
    if "event_id" in job.subject:
        labels.reopen(labels.lock_event(session, job.subject["event_id"]))
    if "round_id" in job.subject:
        rounds.reopen(session, job.subject["round_id"])
    if "scene_request_id" in job.subject:
        scene_requests.reopen(session, job.subject["scene_request_id"])
    if job.kind is JobKind.SCORE_SHARD:
        jobs.enqueue(session, JobKind.SCORE_POOL)  # the same cause may have failed other shards
    if job.kind is JobKind.TILE_SCENE:
        scene = session.get_one(Scene, job.subject["scene_id"])
        if scene.state is SceneState.REJECTED:
            raise ConflictError(f"scene {scene.name!r} was rejected: {scene.error}; mend it and register it anew")
    return job
