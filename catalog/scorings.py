"""The scoring of the pool by a model version: its shards are enqueued, done one by one, and completed together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, case, delete, exists, false, func, select, true
from sqlalchemy.orm import Session, joinedload

from catalog import jobs
from catalog.errors import NotFoundError
from catalog.jobs import OPEN, UNSUCCESSFUL
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Patch,
    Scene,
    SceneRole,
    SceneState,
    Score,
    Scoring,
    Shard,
    ShardKind,
    now,
)
from catalog.settings import Settings
from catalog.sharding import SCREENED_MEASURES, is_shortlist_planned, is_usable, unplanned

PAGE: Final = 10_000  # rows fetched together

# Expected size of the shortlist in units of the share, before the screening has shown it: the top patches by its two
# measures are the same in part.
_EXPECTED_SHORTLIST: Final = 1.5

_PAUSE: Final = timedelta(minutes=1)  # longest pause between two stages for them to be timed as one piece of work


@dataclass(frozen=True)
class Progress:
    """How far a scoring is.

    Attributes:
        done: Share of the work that is done, in [0, 1]; None if there are no shards.
        patches: Number of patches in the pool.
        eta_s: Estimated seconds until all are scored, at the pace so far; None while no worker scores, or before the
            first score.
    """

    done: float | None
    patches: int
    eta_s: float | None


def find_or_open(session: Session, version: int, settings: Settings) -> Scoring:
    """Return the scoring by this version with the present passes and seed; add it if its scores are not kept."""
    scoring = _find(session, version, settings)
    if scoring is None:
        scoring = Scoring(model_version=version, passes=settings.mc_passes, seed=settings.mc_seed)
        session.add(scoring)
        session.flush()
    return scoring


def _find(session: Session, version: int, settings: Settings) -> Scoring | None:
    same = (
        Scoring.model_version == version,
        Scoring.passes == settings.mc_passes,
        Scoring.seed == settings.mc_seed,
        Scoring.removed_at.is_(None),
    )
    return session.scalar(select(Scoring).where(*same))


def newest(session: Session) -> Scoring | None:
    """Return the scoring that was completed last, which ranks the pool. A roll-back completes an older one again."""
    complete = select(Scoring).where(Scoring.completed_at.is_not(None), Scoring.removed_at.is_(None))
    return session.scalar(complete.order_by(Scoring.completed_at.desc(), Scoring.id.desc()).limit(1))


def before(session: Session, scoring: Scoring) -> Scoring | None:
    """Return the complete scoring by the newest earlier version whose maps are kept."""
    earlier = select(Scoring).where(
        Scoring.model_version < scoring.model_version,
        Scoring.completed_at.is_not(None),
        Scoring.removed_at.is_(None),
    )
    return session.scalar(earlier.order_by(Scoring.model_version.desc(), Scoring.id.desc()).limit(1))


def current(session: Session) -> Scoring | None:
    """Return the scoring that was started or completed last."""
    last = case((Scoring.completed_at > Scoring.started_at, Scoring.completed_at), else_=Scoring.started_at)
    kept = select(Scoring).where(Scoring.removed_at.is_(None))
    return session.scalar(kept.order_by(last.desc(), Scoring.id.desc()).limit(1))


def shards_of(session: Session, scoring: Scoring) -> Sequence[Shard]:
    """Return the shards of a scoring with their scenes, ordered by scene, stage and first row.

    Those of scenes that are set aside are left out.
    """
    statement = select(Shard).where(Shard.scoring_id == scoring.id, is_usable()).options(joinedload(Shard.scene))
    return session.scalars(statement.order_by(Shard.scene_id, Shard.stage, Shard.first_row)).all()


def ranks_by(session: Session, scoring: Scoring, measure: str) -> bool:
    """Return whether every patch of a scoring has a score by this measure."""
    return measure in SCREENED_MEASURES or not has_screened_patches(session, scoring)


def has_screened_patches(session: Session, scoring: Scoring) -> bool:
    """Return whether some patches have only the scores of the screening pass."""
    screened = Score.measure.in_(SCREENED_MEASURES), Score.screening == true()
    return bool(session.scalar(select(exists().where(Score.scoring_id == scoring.id, *screened))))


def pool_size(session: Session, scoring: Scoring) -> int:
    """Count the patches of the pool in a scoring, without those of scenes that are set aside."""
    statement = select(func.sum(Shard.patch_count)).where(Shard.scoring_id == scoring.id, Shard.stage == 0, is_usable())
    return session.scalar(statement) or 0


def get_shard(session: Session, shard_id: int) -> Shard:
    """Fetch a shard with its scene and its scoring.

    Raises:
        NotFoundError: there is no such shard.
    """
    shard = session.get(Shard, shard_id, options=[joinedload(Shard.scene), joinedload(Shard.scoring)])
    if shard is None:
        raise NotFoundError(f"there is no shard {shard_id}")
    return shard


def enqueue_undone(session: Session, scoring: Scoring) -> bool:
    """Enqueue a job for every shard that is not done, and reopen failed ones; return whether there was any.

    The shards with most work come first, so that all workers end at about the same time.
    """
    undone = _undone(session, scoring)
    if undone and _is_idle(session, scoring, undone):
        scoring.started_at = now()
    jobs.enqueue_all(session, JobKind.SCORE_SHARD, {str(shard_id): {"shard_id": shard_id} for shard_id in undone})
    return bool(undone)


def _is_idle(session: Session, scoring: Scoring, undone: Sequence[int]) -> bool:
    """Return whether work on a scoring begins now, or begins again; False between two of its stages."""
    if current(session) is not scoring or is_complete(scoring):
        return True
    if not _shards_with_a_job(session, OPEN).isdisjoint(undone):
        return False
    last = session.scalar(select(func.max(Shard.done_at)).where(Shard.scoring_id == scoring.id))
    return last is None or last < now() - _PAUSE


def complete(
    session: Session, scoring: Scoring, agreement: dict[str, Any] | None, stability: dict[str, Any] | None = None
) -> None:
    """Let this scoring rank the pool from now on, and enqueue the removal of those that it supersedes.

    Args:
        session: a writing session.
        scoring: all its shards are done.
        agreement: by measure, how far the rankings by two halves of the passes agree, in [0, 1] (``models.agreement``).
        stability: how far it agrees with the version before (``services.stability``); None keeps what is known.
    """
    finished = now()
    if not is_complete(scoring):
        scoring.seconds = (finished - scoring.started_at).total_seconds()
    scoring.completed_at, scoring.agreement = finished, agreement
    scoring.stability = stability or scoring.stability
    jobs.enqueue(session, JobKind.REMOVE_SUPERSEDED)


def is_complete(scoring: Scoring) -> bool:
    """Return whether no work has begun on a scoring since it was completed."""
    return scoring.completed_at is not None and scoring.completed_at >= scoring.started_at


def monte_carlo_patches(session: Session, scoring: Scoring, measure: str) -> NDArray[np.int64]:
    """Return the ids (N,) of the patches that all T passes have scored by this measure, ascending."""
    statement = select(Score.patch_id).where(
        Score.scoring_id == scoring.id, Score.measure == measure, Score.screening == false()
    )
    rows = session.scalars(statement.order_by(Score.patch_id).execution_options(yield_per=PAGE))
    # Page by page: a million ids as an array take 8 MB, as rows of the ORM some hundred.
    pages = [np.array(page, dtype=np.int64) for page in rows.partitions()]
    return np.concatenate([np.empty(0, dtype=np.int64), *pages])


def mark_done(session: Session, shard_id: int, seconds: float) -> bool:
    """Note that a shard is scored; after the last one, enqueue the job that plans the next stage or completes.

    Returns:
        False if a concurrent attempt was faster; its scores are kept.
    """
    # Locked on PostgreSQL (SQLite has one writer anyway): the last two shards may end at once.
    shard = session.get_one(Shard, shard_id)
    session.get_one(Scoring, shard.scoring_id, with_for_update=True)
    session.refresh(shard)
    if shard.done_at is not None:
        return False
    shard.done_at, shard.seconds = now(), seconds
    session.flush()
    go_on_if_done(session, shard.scoring_id)
    return True


def go_on_if_done(session: Session, scoring_id: int) -> None:
    """Enqueue the job that plans the next stage or completes, if no shard is left but those of scenes set aside."""
    left = select(func.count(Shard.id)).where(Shard.scoring_id == scoring_id, Shard.done_at.is_(None), is_usable())
    if not session.scalar(left):
        jobs.enqueue(session, JobKind.SCORE_POOL)


def forget_scene(session: Session, scoring_id: int, scene_id: int) -> bool:
    """Delete the scores and shards of a scene in a scoring, so that it is scored again like one that is added later.

    Returns:
        False if the scoring has no shard of it.
    """
    shards = select(Shard.id).where(Shard.scoring_id == scoring_id, Shard.scene_id == scene_id)
    if session.scalar(shards.limit(1)) is None:
        return False
    of_scene = select(Patch.id).where(Patch.scene_id == scene_id)
    session.execute(delete(Score).where(Score.scoring_id == scoring_id, Score.patch_id.in_(of_scene)))
    session.execute(delete(Shard).where(Shard.scoring_id == scoring_id, Shard.scene_id == scene_id))
    return True


def progress(session: Session, scoring: Scoring) -> Progress:
    """Return how far a scoring is, over all its shards, stages and workers."""
    at_work = select(Job).where(Job.kind == JobKind.SCORE_SHARD, Job.state == JobState.RUNNING)
    by_shard = {job.subject["shard_id"]: job for job in session.scalars(at_work)}
    of_scoring = and_(Shard.scoring_id == scoring.id, is_usable())
    passes, work = _passes(scoring), _work(scoring)
    undone = select(Shard.id, passes).where(of_scoring, Shard.done_at.is_(None), Shard.id.in_(by_shard))
    running = [(by_shard[shard_id], of_shard) for shard_id, of_shard in session.execute(undone)]
    sums = select(
        func.sum(work),
        func.sum(case((Shard.done_at.is_not(None), work), else_=0)),
        func.sum(case((Shard.seconds.is_not(None), work), else_=0)),
        func.sum(Shard.seconds),
    )
    total, done, paced, worked_s = (value or 0 for value in session.execute(sums.where(of_scoring)).one())
    patches = pool_size(session, scoring)
    pending = select(func.sum(Shard.patch_count)).where(of_scoring, Shard.shortlist_planned == false())
    shortlist_share = min(1.0, _EXPECTED_SHORTLIST * scoring.shortlist_share)
    total += shortlist_share * (session.scalar(pending) or 0) * scoring.passes
    under_way = sum(job.done * of_shard for job, of_shard in running)
    done, paced = done + under_way, paced + under_way
    worked_s += sum((now() - job.started_at).total_seconds() for job, _ in running if job.started_at is not None)
    eta_s = worked_s / paced * (total - done) / len(running) if running and paced else None
    return Progress(done / total if total else None, patches, eta_s)


def is_under_way(session: Session) -> bool:
    """Return whether any job of a scoring is queued or running."""
    return jobs.is_open(session, JobKind.SCORE_POOL) or jobs.is_open(session, JobKind.SCORE_SHARD)


def enqueue_if_unscored(session: Session, version: int, settings: Settings) -> Job | None:
    """Enqueue the scoring of the pool if this version has not scored all of it with these settings.

    Decisions and tiled scenes enqueue the scoring themselves, but a job that is running then may miss them; and only
    this notices that an alias was moved in MLflow's own page, or that the setting ``scoring_version`` was changed. A
    scoring that failed would fail again, and one that was cancelled is not wanted: a person has to retry them.
    """
    last = jobs.last_of(session, JobKind.SCORE_POOL)
    if not _has_pool(session) or (last is not None and last.state in UNSUCCESSFUL):
        return None
    scoring = _find(session, version, settings)
    if scoring is not None and not unplanned(session, scoring):
        undone = _undone(session, scoring)
        with_a_job = _shards_with_a_job(session, (*OPEN, *UNSUCCESSFUL))
        have_jobs = undone and with_a_job.issuperset(undone)
        is_done = not undone and is_shortlist_planned(session, scoring, settings.mc_shortlist_share)
        if have_jobs or (is_done and scoring == newest(session)):
            return None
    return jobs.enqueue(session, JobKind.SCORE_POOL)


def _passes(scoring: Scoring) -> ColumnElement[int]:
    """Return how many passes a shard of this scoring spends on each patch."""
    return case((Shard.kind == ShardKind.SCREENING, 1), else_=scoring.passes)


def _work(scoring: Scoring) -> ColumnElement[int]:
    """Return the work of a shard of this scoring: patches times passes."""
    return Shard.patch_count * _passes(scoring)


def _shards_with_a_job(session: Session, states: Sequence[JobState]) -> set[int]:
    kept = select(Job.subject).where(Job.kind == JobKind.SCORE_SHARD, Job.state.in_(states))
    return {subject["shard_id"] for subject in session.scalars(kept)}


def _undone(session: Session, scoring: Scoring) -> Sequence[int]:
    """Return the ids of the shards that are not done, those with most work first."""
    statement = select(Shard.id).where(Shard.scoring_id == scoring.id, Shard.done_at.is_(None), is_usable())
    return session.scalars(statement.order_by(_work(scoring).desc(), Shard.id)).all()


def _has_pool(session: Session) -> bool:
    statement = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    return session.scalar(statement.limit(1)) is not None
