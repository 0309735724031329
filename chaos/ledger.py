"""What the catalog of a running system says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import select

from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.records import EventState, Job, JobKind, JobState, LabelEvent, Round, TrainingRun
from chaos.system import System
from services.promotion import SERVING

# What the clock enqueues again and again.
PERIODIC: Final = frozenset(
    {JobKind.SYNC_LABEL_STUDIO, JobKind.REMOVE_SUPERSEDED, JobKind.MEND_FILES, JobKind.COMPARE_MASKS}
)


@contextmanager
def opened(system: System) -> Iterator[Catalog]:
    """Open the catalog of a system for the time of the block."""
    catalog = system.catalog()
    try:
        yield catalog
    finally:
        catalog.close()


def open_jobs(catalog: Catalog) -> list[Job]:
    """Return the jobs that are queued or running, without those that the clock enqueues again and again."""
    with catalog.read() as session:
        listed = session.scalars(select(Job).where(Job.state.in_((JobState.QUEUED, JobState.RUNNING)))).all()
    return [job for job in listed if job.kind not in PERIODIC]


def counts(catalog: Catalog) -> dict[str, int]:
    """Return how many rounds, fine-tunes, promotions, jobs and label events there are."""
    with catalog.read() as session:
        runs = session.scalars(select(TrainingRun)).all()
        served = session.scalars(select(Promotion).where(Promotion.verdict.in_(SERVING))).all()
        rounds = session.scalars(select(Round.id)).all()
        events = session.execute(select(LabelEvent.origin, LabelEvent.state)).all()
        jobs = session.scalars(select(Job)).all()
    return {
        "rounds": len(rounds),
        "fine-tunes": len(runs),
        "promotions": len(served),
        "jobs": len(jobs),
        "attempts of jobs": sum(job.attempt for job in jobs),
        "events in the ledger": len(events),
        "events found by reconciliation": sum(origin == "reconciliation" for origin, _ in events),
        "events failed": sum(state is EventState.FAILED for _, state in events),
    }
