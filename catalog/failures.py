"""When a job fails: another try, or the end, which is then told in the row that the job was about."""

from sqlalchemy.orm import Session

from catalog import jobs, labels, rounds
from catalog.records import Job, JobKind, Scene


def note_failure(session: Session, job: Job, error: str, max_failures: int) -> None:
    """Queue a failed job once more or, after ``max_failures``, give it up and say so where its outcome is awaited.

    Raises:
        JobLostError: the job was given to another worker.
    """
    if jobs.try_again(session, job.id, job.attempt, error, max_failures):
        return
    if "round_id" in job.subject:
        rounds.mark_failed(session, job.subject["round_id"], error)
    if "event_id" in job.subject:
        labels.mark_failed(session, job.subject["event_id"], error)
    if job.kind is JobKind.TILE_SCENE:
        session.get_one(Scene, job.subject["scene_id"]).error = error
