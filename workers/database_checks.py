"""Checks of the database: schema, integrity, and rows that a crash may have left behind."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from catalog import jobs, set_aside, training
from catalog.context import Catalog
from catalog.database import MIGRATIONS
from catalog.decision_records import PromotionIntent
from catalog.records import JobKind, RunState, TrainingRun, now
from catalog.told_texts import described
from services import failed_events
from services.installation_findings import Finding, fault, listed, ok, warning
from services.situation import failed_jobs

_INTENT_SETTLED_WITHIN = timedelta(minutes=10)


def check_schema(catalog: Catalog, *, may_migrate: bool = False) -> Iterator[Finding]:
    """Compare the schema of the database with the newest one, and look for damaged pages.

    Args:
        catalog: The catalog.
        may_migrate: Whether mending migrates; not while processes use the database that began with its schema.
    """
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    try:
        with catalog.database.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            damage = []
            if catalog.database.is_sqlite:
                damage = [row for row in connection.execute(text("PRAGMA quick_check")).scalars() if row != "ok"]
    except SQLAlchemyError as error:
        found = f"an error ({described(error)})"
        yield fault("database", found, "a database that answers", "see docs/operations.md, Backup")
        return
    if damage:
        yield fault("database", f"damaged pages ({listed(damage)})", "none", "restore a backup: `glacier-al restore`")
    elif found != newest:
        fix = partial(_migrate, catalog) if may_migrate else None
        yield fault("schema", f"revision {found}", f"revision {newest}", "restart `glacier-al up`, which migrates", fix)
    else:
        yield ok("schema", f"revision {found}")


def _migrate(catalog: Catalog) -> str:
    catalog.database.migrate()
    return "the schema is the newest now"


def check_rows(catalog: Catalog) -> Iterator[Finding]:
    """Yield the findings about rows; the schema must be the newest."""
    with catalog.read() as session:
        stale = jobs.stale(session, catalog.settings.job_stale_after_s)
        failed = failed_jobs(session)
        fine_tunes = jobs.is_open(session, JobKind.FINE_TUNE)
        left = training.unfinished_run(session)
        unfinished = select(PromotionIntent.id).where(PromotionIntent.decided_at < now() - _INTENT_SETTLED_WITHIN)
        intents = session.scalars(unfinished).all()
        events = failed_events.count_left(session)
        aside = set_aside.standing(session)
    if stale:
        keys = listed(job.key for job in stale)
        yield warning("running jobs", f"no heartbeat of {keys}", "one a minute", "nothing: the clock queues them again")
    else:
        yield ok("running jobs", "a heartbeat of each")
    if failed:
        kinds = listed(job.kind for job in failed)
        yield warning("failed jobs", kinds, "none", "retry them on the dashboard, or by `glacier-al jobs retry`")
    if left is not None and left.state is RunState.OPEN and not fine_tunes:
        fix = partial(_close_run, catalog, left.id)
        yield fault("training runs", f"run {left.id} open, but no job", "a job for it", "close it as killed", fix)
    else:
        yield ok("training runs", "none left behind")
    if intents:
        yield warning(
            "decisions",
            f"{listed(intents)} not completed for ten minutes",
            "none",
            "the clock settles them; see its log",
        )
    if events:
        remedy = "correct the drawing, or replay the event on the dashboard"
        yield warning("label events", f"{events} failed", "none", remedy)
    else:
        yield ok("label events", "none failed")
    for row in aside:
        yield warning(
            f"set aside: {row.kind}", f"{row.name}: {row.reason}", "nothing set aside", "put back what it names"
        )


def _close_run(catalog: Catalog, run_id: int) -> str:
    with catalog.write() as session:
        run = session.get_one(TrainingRun, run_id)
        if run.model_version is not None:
            training.enqueue_by_hand(session)
            return f"the job that concludes run {run_id} was queued: its version is registered"
        training.end_run(session, run_id, RunState.KILLED, "no job was left that could end it")
    return f"run {run_id} was closed as killed; its labels are learnt by the next"
