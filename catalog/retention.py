"""Which scorings are superseded, and the removal of their rows, a few at a time.

A superseded scoring is first marked (``Scoring.removed_at``): from then on it ranks nothing and is never continued. Its
scores are deleted in batches, each a short transaction, because SQLite has one writer at a time and label events wait.
Its shards are deleted last, so that an interrupted removal is found again.
"""

from collections.abc import Sequence

from sqlalchemy import Select, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from catalog import jobs, scorings
from catalog.jobs import OPEN, UNSUCCESSFUL
from catalog.records import (
    Job,
    JobKind,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    Score,
    Scoring,
    Shard,
    now,
)
from catalog.rounds import BEING_MADE


def superseded(session: Session, keep: int) -> Sequence[Scoring]:
    """Return the scorings whose scores, maps and shards nothing needs any more.

    Needed are the ``keep`` scorings that were completed last, the one under way, those with open jobs, and those that a
    round ranks by whose patches are still being chosen or published. While a round is being made at least two complete
    scorings are kept: it may read the maps of one that was the newest when it began.
    """
    making = session.scalar(select(exists().where(Round.state.in_(BEING_MADE))))
    kept = Scoring.removed_at.is_(None)
    complete = select(Scoring.id).where(kept, Scoring.completed_at.is_not(None))
    last = complete.order_by(Scoring.completed_at.desc(), Scoring.id.desc()).limit(max(keep, 2) if making else keep)
    needed = {*session.scalars(last), *session.scalars(_scorings_with_jobs()), *session.scalars(_scorings_of_rounds())}
    under_way = scorings.current(session)
    if under_way is not None:
        needed.add(under_way.id)
    return session.scalars(select(Scoring).where(kept, Scoring.id.not_in(needed)).order_by(Scoring.id)).all()


def mark_superseded(session: Session, keep: int) -> None:
    """Mark the superseded scorings as removed: they rank nothing from now on, and their rows and files may go."""
    for scoring in superseded(session, keep):
        scoring.removed_at = now()


def unfinished(session: Session) -> Sequence[int]:
    """Return the ids of the removed scorings that still have rows."""
    rows = or_(exists().where(Score.scoring_id == Scoring.id), exists().where(Shard.scoring_id == Scoring.id))
    return session.scalars(select(Scoring.id).where(Scoring.removed_at.is_not(None), rows).order_by(Scoring.id)).all()


def delete_scores(session: Session, scoring_id: int, at_most: int) -> bool:
    """Delete about ``at_most`` scores of a removed scoring; return whether any may be left."""
    of_scoring = Score.scoring_id == scoring_id
    patches = select(Score.patch_id).where(of_scoring).order_by(Score.patch_id)
    last = session.scalar(patches.offset(at_most - 1).limit(1))
    batch = delete(Score).where(of_scoring if last is None else and_(of_scoring, Score.patch_id <= last))
    session.execute(batch.execution_options(synchronize_session=False))
    return last is not None


def delete_shards(session: Session, scoring_id: int) -> None:
    """Delete the shards of a removed scoring: its removal is finished."""
    session.execute(delete(Shard).where(Shard.scoring_id == scoring_id))


def enqueue_if_due(session: Session, keep: int) -> Job | None:
    """Enqueue the removal if a scoring is superseded or its removal was interrupted.

    A removal that failed would fail again: it is enqueued by the next scoring that completes, or retried by a person.
    """
    last = jobs.last_of(session, JobKind.REMOVE_SUPERSEDED)
    if last is not None and last.state in UNSUCCESSFUL:
        return None
    if not superseded(session, keep) and not unfinished(session):
        return None
    return jobs.enqueue(session, JobKind.REMOVE_SUPERSEDED)


def _scorings_with_jobs() -> Select[int]:
    open_jobs = select(Job.subject["shard_id"].as_integer()).where(Job.kind == JobKind.SCORE_SHARD, Job.state.in_(OPEN))
    return select(Shard.scoring_id).where(Shard.id.in_(open_jobs)).distinct()


def _scorings_of_rounds() -> Select[int | None]:
    unpublished = exists().where(Proposal.round_id == Round.id, Proposal.state == ProposalState.CHOSEN)
    being_made = or_(Round.state.in_(BEING_MADE), and_(Round.state == RoundState.OPEN, unpublished))
    return select(Round.scoring_id).where(Round.scoring_id.is_not(None), being_made)
