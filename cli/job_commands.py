"""``glacier-al jobs``: list jobs, cancel a job, retry a failed one."""

import click
from sqlalchemy import select

from catalog import failures
from catalog.records import Job, JobState
from cli.installation import installed_catalog, running_catalog
from cli.output import print_table


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="only jobs in this state")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="jobs to list, newest first")
@click.pass_context
def jobs(context: click.Context, state: str | None, limit: int) -> None:
    """List jobs, newest first; with a subcommand, cancel or retry a job."""
    if context.invoked_subcommand is not None:
        return
    newest = select(Job).order_by(Job.created_at.desc()).limit(limit)
    if state is not None:
        newest = newest.where(Job.state == JobState(state))
    rows = []
    with installed_catalog() as catalog, catalog.read() as session:
        for job in session.scalars(newest):
            progress = f"{job.done / job.total:.0%}" if job.total else ""
            begun = f"{job.started_at:%Y-%m-%d %H:%M:%S}" if job.started_at else ""
            rows.append((job.id, job.key, job.state.value, progress, begun, job.error or ""))
    print_table(("id", "job", "state", "progress", "begun", "error"), rows)


@jobs.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """Cancel the job JOB_ID: at once if it is queued, else at its next progress report."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            job = failures.cancel(session, job_id)
        ended = job.state is JobState.CANCELLED
        click.echo(f"Job {job.key} is cancelled." if ended else f"Job {job.key} has been asked to stop.")


@jobs.command()
@click.argument("job_id")
def retry(job_id: str) -> None:
    """Queue the failed or cancelled job JOB_ID again."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            job = failures.retry(session, job_id)
        click.echo(f"Job {job.key} is queued again.")
