"""The scoring of the pool by a model version: shards that are enqueued, done, and complete together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, exists, false, func, select, true
from sqlalchemy.orm import Session, joinedload

from catalog import jobs
from catalog.errors import NotFoundError
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, JobState, Scene, SceneRole, SceneState, Score, Scoring, Shard, now
from catalog.settings import Settings
from catalog.sharding import SURVEY, SURVEYED, is_evaluated, unplanned

PAGE: Final = 10_000  # rows fetched together

_EXPECTED_CONTESTED: Final = 1.5  # times the share, before a survey has shown it: two measures agree in part

_PAUSE: Final = timedelta(minutes=1)  # between two stages of a scoring, at most, for them to count as one work

_EFFORT: Final = case((Shard.passes == SURVEY, 1), else_=Shard.passes)  # on each patch, in passes
_WORK: Final = Shard.patch_count * _EFFORT


@dataclass(frozen=True)
class Progress:
    """How far a scoring is.

    Attributes:
        done: Share of the work that is done, in [0, 1]; None of a scoring without shards, by an older release.
        patches: Patches of the pool.
        eta_s: Seconds until the last of them, at the pace so far; None while nobody works on them, or none is scored.
    """

    done: float | None
    patches: int
    eta_s: float | None


def find_or_open(session: Session, version: int, settings: Settings) -> Scoring:
    """Return the scoring by this version with the present settings; there is one of each kind."""
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
    )
    return session.scalar(select(Scoring).where(*same))


def newest(session: Session) -> Scoring | None:
    """Return the scoring of the pool that was completed last: after a roll-back an older one is completed anew."""
    complete = select(Scoring).where(Scoring.completed_at.is_not(None))
    return session.scalar(complete.order_by(Scoring.completed_at.desc(), Scoring.id.desc()).limit(1))


def current(session: Session) -> Scoring | None:
    """Return the scoring on which something happened last: it is under way, or was completed last."""
    last = case((Scoring.completed_at > Scoring.started_at, Scoring.completed_at), else_=Scoring.started_at)
    return session.scalar(select(Scoring).order_by(last.desc(), Scoring.id.desc()).limit(1))


def shards_of(session: Session, scoring: Scoring) -> Sequence[Shard]:
    """Return the shards of a scoring with their scenes, by scene and stage from north to south."""
    statement = select(Shard).where(Shard.scoring_id == scoring.id).options(joinedload(Shard.scene))
    return session.scalars(statement.order_by(Shard.scene_id, Shard.stage, Shard.first_row)).all()


def ranks_by(session: Session, scoring: Scoring, measure: str) -> bool:
    """Tell whether a scoring ranks all that it knows by this measure: some need all passes on every patch."""
    return measure in SURVEYED or not session.scalar(
        select(exists().where(Score.scoring_id == scoring.id, Score.measure.in_(SURVEYED), Score.surveyed == true()))
    )


def pool_size(session: Session, scoring: Scoring) -> int:
    """Count the patches of the pool that a scoring is about."""
    statement = select(func.sum(Shard.patch_count)).where(Shard.scoring_id == scoring.id, Shard.stage == 0)
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
    """Have a job for every shard that is not done, a failed one again; tell whether there was any such shard.

    The largest come first: so all workers end at about the same time.
    """
    undone = _undone(session, scoring)
    if undone and _is_idle(session, scoring, undone):
        scoring.started_at = now()
    jobs.enqueue_all(session, JobKind.SCORE_SHARD, {str(shard_id): {"shard_id": shard_id} for shard_id in undone})
    return bool(undone)


def _is_idle(session: Session, scoring: Scoring, undone: Sequence[int]) -> bool:
    """Tell whether work on a scoring begins, or begins again; not so between two stages of it."""
    if current(session) is not scoring or (scoring.completed_at and scoring.completed_at >= scoring.started_at):
        return True
    if not _shards_with_a_job(session, OPEN).isdisjoint(undone):
        return False
    last = session.scalar(select(func.max(Shard.done_at)).where(Shard.scoring_id == scoring.id))
    return last is None or last < now() - _PAUSE


def complete(session: Session, scoring: Scoring, agreement: dict[str, float | None]) -> None:
    """Note that all of the pool is scored, and how steady the ranking is: from now on this scoring ranks."""
    finished = now()
    if scoring.completed_at is None or scoring.completed_at < scoring.started_at:
        scoring.seconds = (finished - scoring.started_at).total_seconds()
    scoring.completed_at, scoring.agreement = finished, agreement


def halves_of(session: Session, scoring: Scoring, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores by each half of the passes of all patches that met them, in the order of the patches' ids.

    Returns:
        Two arrays (N,) in nats; NaN where a release of before did not keep them.
    """
    statement = select(Score.first_half, Score.second_half).where(
        Score.scoring_id == scoring.id, Score.measure == measure, Score.surveyed == false()
    )
    rows = session.execute(statement.order_by(Score.patch_id).execution_options(yield_per=PAGE))
    pages = [np.array(page, dtype=np.float64) for page in rows.partitions()]  # not all rows at once: there are millions
    found: NDArray[np.float64] = np.concatenate([np.empty((0, 2)), *pages])
    return found[:, 0], found[:, 1]


def mark_done(session: Session, shard_id: int, seconds: float) -> bool:
    """Note that a shard is scored; whoever ends the last one of a scoring has them put together.

    Returns:
        False if another attempt was faster, whose scores stand.
    """
    # Locked (by PostgreSQL; SQLite has one writer anyway): the last two shards may end at once.
    shard = session.get_one(Shard, shard_id)
    session.get_one(Scoring, shard.scoring_id, with_for_update=True)
    session.refresh(shard)
    if shard.done_at is not None:
        return False
    shard.done_at, shard.seconds = now(), seconds
    session.flush()
    left = select(func.count(Shard.id)).where(Shard.scoring_id == shard.scoring_id, Shard.done_at.is_(None))
    if not session.scalar(left):
        jobs.enqueue(session, JobKind.SCORE_POOL)
    return True


def progress(session: Session, scoring: Scoring) -> Progress:
    """Say how far a scoring is, over all its shards and stages: one number, whoever works on them."""
    at_work = select(Job).where(Job.kind == JobKind.SCORE_SHARD, Job.state == JobState.RUNNING)
    by_shard = {job.subject["shard_id"]: job for job in session.scalars(at_work)}
    of_scoring = Shard.scoring_id == scoring.id
    undone = select(Shard.id, _EFFORT).where(of_scoring, Shard.done_at.is_(None), Shard.id.in_(by_shard))
    running = [(by_shard[shard_id], effort) for shard_id, effort in session.execute(undone)]
    sums = select(
        func.sum(_WORK),
        func.sum(case((Shard.done_at.is_not(None), _WORK), else_=0)),
        func.sum(case((Shard.seconds.is_not(None), _WORK), else_=0)),
        func.sum(Shard.seconds),
    )
    total, done, paced, worked_s = (value or 0 for value in session.execute(sums.where(of_scoring)).one())
    patches = pool_size(session, scoring)
    pending = select(func.sum(Shard.patch_count)).where(of_scoring, Shard.evaluated == false())
    total += min(1.0, _EXPECTED_CONTESTED * scoring.share) * (session.scalar(pending) or 0) * scoring.passes
    under_way = sum(job.done * effort for job, effort in running)
    done, paced = done + under_way, paced + under_way
    worked_s += sum((now() - job.started_at).total_seconds() for job, _ in running if job.started_at is not None)
    eta_s = worked_s / paced * (total - done) / len(running) if running and paced else None
    return Progress(done / total if total else None, patches, eta_s)


def is_under_way(session: Session) -> bool:
    """Tell whether any work on a scoring waits or runs."""
    return jobs.is_open(session, JobKind.SCORE_POOL) or jobs.is_open(session, JobKind.SCORE_SHARD)


def enqueue_if_unscored(session: Session, version: int, settings: Settings) -> Job | None:
    """Enqueue the scoring of the pool if this version, the champion, has not scored all of it by these settings.

    Whoever promotes a version or tiles a scene enqueues the scoring too, but finds the running job when there is one,
    which may be past the point; and a champion moved in MLflow's own page is noticed by nobody else. A scoring that
    failed is left to people: it would fail again.
    """
    last = jobs.last_of(session, JobKind.SCORE_POOL)
    if not _has_pool(session) or (last is not None and last.state in {JobState.FAILED, JobState.CANCELLED}):
        return None
    scoring = _find(session, version, settings)
    if scoring is not None and not unplanned(session, scoring):
        undone = _undone(session, scoring)
        with_a_job = _shards_with_a_job(session, (*OPEN, JobState.FAILED, JobState.CANCELLED))
        left_to_others = undone and with_a_job.issuperset(undone)
        is_done = not undone and is_evaluated(session, scoring, settings.mc_shortlist_share)
        if left_to_others or (is_done and scoring == newest(session)):
            return None
    return jobs.enqueue(session, JobKind.SCORE_POOL)


def _shards_with_a_job(session: Session, states: Sequence[JobState]) -> set[int]:
    kept = select(Job.subject).where(Job.kind == JobKind.SCORE_SHARD, Job.state.in_(states))
    return {subject["shard_id"] for subject in session.scalars(kept)}


def _undone(session: Session, scoring: Scoring) -> Sequence[int]:
    """Return the ids of the shards that are not done, those of most work first."""
    statement = select(Shard.id).where(Shard.scoring_id == scoring.id, Shard.done_at.is_(None))
    return session.scalars(statement.order_by(_WORK.desc(), Shard.id)).all()


def _has_pool(session: Session) -> bool:
    statement = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    return session.scalar(statement.limit(1)) is not None
