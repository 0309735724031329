"""``glacier-al jobs``: list jobs, wait for a job, cancel one, retry a failed one."""

from typing import Any

import click
from sqlalchemy import select

from catalog import failures
from catalog import jobs as job_rows
from catalog.records import Job, JobState
from cli.installation import installed_catalog, running_catalog
from cli.output import Columns, json_option, moment, print_records, tell
from cli.progress import job_progress
from cli.server import connected
from glacier_al_client.types import JobAnswer


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="only jobs in this state")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="jobs to list, newest first")
@json_option
@click.pass_context
def jobs(context: click.Context, state: str | None, limit: int) -> None:
    """List jobs, newest first; with a subcommand, wait for, cancel or retry a job."""
    if context.invoked_subcommand is not None:
        return
    newest = select(Job).order_by(Job.created_at.desc()).limit(limit)
    if state is not None:
        newest = newest.where(Job.state == JobState(state))
    with installed_catalog() as catalog, catalog.read() as session:
        records = [_record(job) for job in session.scalars(newest)]
    columns: Columns = {
        "id": "id",
        "job": "key",
        "state": "state",
        "progress": lambda record: "" if record["progress"] is None else f"{record['progress']:.0%}",
        "begun": moment("started_at"),
        "error": "error",
    }
    print_records(records, columns)


@jobs.command()
@click.argument("job_id")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="seconds; default: without limit")
@json_option
def wait(job_id: str, timeout_s: float | None) -> None:
    """Wait for the job JOB_ID, showing how far it is. The exit code is 1 if it fails, 6 if the time is over."""
    job = follow(job_id, timeout_s)
    tell(f"Job {job.id} ({job.kind.replace('_', ' ')}) is finished.", **job.model_dump())


@jobs.command()
@click.argument("job_id")
@json_option
def cancel(job_id: str) -> None:
    """Cancel the job JOB_ID: at once if it is queued, else at its next progress report."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            job = failures.cancel(session, job_id)
        ended = job.state is JobState.CANCELLED
        text = f"Job {job.key} is cancelled." if ended else f"Job {job.key} has been asked to stop."
        tell(text, **_record(job))


@jobs.command()
@click.argument("job_id")
@json_option
def retry(job_id: str) -> None:
    """Queue the failed or cancelled job JOB_ID again."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            job = failures.retry(session, job_id)
        tell(f"Job {job.key} is queued again.", **_record(job))


def follow(job_id: str, timeout_s: float | None = None) -> JobAnswer:
    """Wait for a job of the running system, showing how far it is; return it as it ended.

    Raises:
        ClickException: It failed, was cancelled, or has not ended in time.
    """
    with connected(role="reader") as server:
        what = server.job(job_id).kind.replace("_", " ")
        with job_progress(what) as told:
            return server.wait_for_job(job_id, told, timeout_s)


def _record(job: Job) -> dict[str, Any]:
    """Return a job as the API describes it, with its key."""
    return {
        "id": job.id,
        "key": job.key,
        "kind": job.kind.value,
        "state": job.state.value,
        "progress": job.done / job.total if job.total else None,
        "eta_s": job_rows.eta_s(job),
        "message": job.message,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
