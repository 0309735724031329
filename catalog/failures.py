"""What the end of a job means for the round, label event or scene that it is about, and how a retry undoes that."""

from sqlalchemy.orm import Session

from catalog import jobs, labels, rounds
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Scene, SceneState


def note_failure(session: Session, job: Job, error: str, max_failures: int) -> None:
    """Queue a failed job once more or, after ``max_failures``, give it up and say so where its outcome is awaited.

    Raises:
        JobLostError: the job was given to another worker.
    """
    if not jobs.try_again(session, job.id, job.attempt, error, max_failures):
        _note_end(session, job, error)


def cancel(session: Session, job_id: str) -> Job:
    """Cancel a queued job, or ask a running one to stop.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has ended already.
    """
    job = jobs.request_cancel(session, job_id)
    if job.state is JobState.CANCELLED:
        _note_end(session, job, jobs.CANCELLED)
    return job


def note_cancelled(session: Session, job: Job) -> None:
    """Note that a running job stopped because someone asked for it.

    Raises:
        JobLostError: the job was given to another worker.
    """
    jobs.note_cancelled(session, job.id, job.attempt)
    _note_end(session, job, jobs.CANCELLED)


def _note_end(session: Session, job: Job, error: str) -> None:
    """Store the reason where the outcome of the job is awaited."""
    if "round_id" in job.subject:
        rounds.mark_failed(session, job.subject["round_id"], error)
    if "event_id" in job.subject:
        labels.mark_failed(session, job.subject["event_id"], error)
    if job.kind is JobKind.TILE_SCENE:
        session.get_one(Scene, job.subject["scene_id"]).error = error


def retry(session: Session, job_id: str) -> Job:
    """Do a failed or cancelled job again; what it is about returns to the state in which the job expects it.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has neither failed nor been cancelled, another job with its key is open, or its scene was
            rejected.
    """
    job = jobs.retry(session, job_id)
    if "event_id" in job.subject:
        labels.reopen(labels.get_event(session, job.subject["event_id"]))
    if "round_id" in job.subject:
        rounds.reopen(session, job.subject["round_id"])
    if job.kind is JobKind.SCORE_SHARD:
        jobs.enqueue(session, JobKind.SCORE_POOL)  # whatever kept one shard from being read may have kept others
    if job.kind is JobKind.TILE_SCENE:
        scene = session.get_one(Scene, job.subject["scene_id"])
        if scene.state is SceneState.REJECTED:
            raise ConflictError(f"scene {scene.name!r} was rejected: {scene.error}; mend it and register it anew")
    return job
