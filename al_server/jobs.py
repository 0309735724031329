"""Jobs: list, describe, retry, cancel."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog, json_response
from al_server.job_schemas import JobAnswer, JobId, JobPage, serialize_job
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from catalog import failures, jobs
from catalog.records import Job, JobState

api = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="jobs")])


@api.get("", responses={200: ListOf[JobAnswer]})
def list_jobs(query: JobPage) -> Response:
    """List jobs, newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    statement = select(Job)
    if query.state is not None:
        statement = statement.where(Job.state == query.state)
    with current_catalog().read() as session:
        found = jobs.page(session, statement, cut_of(query))
    return page_response([serialize_job(job) for job in found], query, last_key(found, query, lambda job: job.id))


@api.get("/<job_id>", responses={200: JobAnswer})
def get_job(path: JobId) -> Response:
    """Describe one job: state, progress, seconds left, error."""
    with current_catalog().read() as session:
        return json_response(serialize_job(jobs.get(session, path.job_id)))


@api.post("/<job_id>/retry", responses={202: JobAnswer})
def retry_job(path: JobId) -> Response:
    """Queue a failed or cancelled job again."""
    with current_catalog().write() as session:
        accepted = serialize_job(failures.retry(session, path.job_id))
    return json_response(accepted, 202)


@api.post("/<job_id>/cancel", responses={200: JobAnswer, 202: JobAnswer})
def cancel_job(path: JobId) -> Response:
    """Cancel a queued job (200), or ask a running one to stop, which it does when it next notes its progress (202)."""
    with current_catalog().write() as session:
        cancelled = serialize_job(failures.cancel(session, path.job_id))
    return json_response(cancelled, 200 if cancelled.state is JobState.CANCELLED else 202)
