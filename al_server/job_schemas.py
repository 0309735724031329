"""Schemas of requests and answers about jobs."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from al_server.schemas import Limited, serialize_row
from catalog import jobs
from catalog.records import Job, JobKind, JobState
from services.request_types import Closed


class JobId(Closed):
    """The id of a job."""

    job_id: str = Field(pattern=r"^[0-9a-f]{32}$")


class JobsBefore(Limited):
    """A page of jobs, or of what jobs make, newest first."""

    before: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", description="id of a job: only what was asked for before it"
    )


class JobPage(JobsBefore):
    """A page of the jobs, newest first, of one state or all."""

    state: JobState | None = None


class JobAnswer(BaseModel):
    """A job: work that a worker does in the background."""

    id: str
    kind: JobKind
    subject: dict[str, Any]
    state: JobState
    progress: float | None = Field(description="0 to 1; null while unknown")
    eta_s: float | None
    message: str | None
    error: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def serialize_job(job: Job) -> JobAnswer:
    """Return a job with its progress and the seconds it still needs."""
    progress = job.done / job.total if job.total else None
    return serialize_row(
        JobAnswer, job, progress=1.0 if job.state is JobState.FINISHED else progress, eta_s=jobs.eta_s(job)
    )
