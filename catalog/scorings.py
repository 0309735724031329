"""The scoring of the pool by a model version: cut into shards, each scored by a job of its own, and put together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session, joinedload

from catalog import jobs
from catalog.errors import NotFoundError
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneRole, SceneState, Score, Scoring, Shard, now
from catalog.settings import Settings

# Each is a row and a job, which the clock goes through every few seconds.
MOST_SHARDS: Final = 2000
PAGE: Final = 10_000  # rows fetched together


@dataclass(frozen=True)
class Progress:
    """How far a scoring is.

    Attributes:
        done: Patches scored.
        total: Patches to be scored.
        eta_s: Seconds until the last of them, at the pace so far; None while nobody works on them, or none is scored.
    """

    done: int
    total: int
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


def plan(session: Session, scoring: Scoring, pixels: int) -> None:
    """Cut the ready scenes of the pool that this scoring knows nothing of into shards.

    A shard is made of whole rows of patches. Those of a scene are about equally large.

    Args:
        session: a writing session.
        scoring: to plan.
        pixels: about so many in a shard; more in a pool so large that there would be thousands of shards.
    """
    unplanned = _unplanned(session, scoring)
    pixels = max(pixels, sum(scene.patch_count * scene.patch_size_px**2 for scene in unplanned) // MOST_SHARDS)
    for scene in unplanned:
        rows = _rows_of_patches(session, scene.id)
        shards = max(1, round(scene.patch_count * scene.patch_size_px**2 / pixels))
        for of_shard in _shared_out(rows, shards):
            session.add(
                Shard(
                    scoring_id=scoring.id,
                    scene_id=scene.id,
                    first_row=min(of_shard),
                    last_row=max(of_shard),
                    patch_count=sum(of_shard.values()),
                )
            )
    session.flush()


def _unplanned(session: Session, scoring: Scoring) -> Sequence[Scene]:
    planned = select(Shard.scene_id).where(Shard.scoring_id == scoring.id)
    statement = select(Scene).where(
        Scene.role == SceneRole.POOL, Scene.state == SceneState.READY, Scene.id.not_in(planned)
    )
    return session.scalars(statement.order_by(Scene.id)).all()


def _rows_of_patches(session: Session, scene_id: int) -> dict[int, int]:
    """Where the rows of patches begin, and how many patches each holds."""
    statement = select(Patch.row_off, func.count()).where(Patch.scene_id == scene_id)
    return dict(session.execute(statement.group_by(Patch.row_off).order_by(Patch.row_off)).all())


def _shared_out(rows: dict[int, int], shards: int) -> Iterable[dict[int, int]]:
    """Share rows out to at most so many shards, in their order, by how many patches come before them."""
    total, before, shard_of = sum(rows.values()), 0, {}
    for row, count in rows.items():
        shard_of[row] = before * shards // total
        before += count
    for _, of_shard in groupby(rows, key=shard_of.__getitem__):
        yield {row: rows[row] for row in of_shard}


def shards_of(session: Session, scoring: Scoring) -> Sequence[Shard]:
    """Return the shards of a scoring with their scenes, by scene from north to south."""
    statement = select(Shard).where(Shard.scoring_id == scoring.id).options(joinedload(Shard.scene))
    return session.scalars(statement.order_by(Shard.scene_id, Shard.first_row)).all()


def get_shard(session: Session, shard_id: int) -> Shard:
    """Fetch a shard with its scene and its scoring.

    Raises:
        NotFoundError: there is no such shard.
    """
    shard = session.get(Shard, shard_id, options=[joinedload(Shard.scene), joinedload(Shard.scoring)])
    if shard is None:
        raise NotFoundError(f"there is no shard {shard_id}")
    return shard


def patches_of(session: Session, shard: Shard) -> Sequence[Patch]:
    """Return the patches of a shard, row by row."""
    statement = select(Patch).where(
        Patch.scene_id == shard.scene_id, Patch.row_off.between(shard.first_row, shard.last_row)
    )
    return session.scalars(statement.order_by(Patch.row_off, Patch.col_off)).all()


def enqueue_undone(session: Session, scoring: Scoring) -> bool:
    """Have a job for every shard that is not done, a failed one again; tell whether there was any such shard.

    The largest come first: so all workers end at about the same time.
    """
    undone = _undone(session, scoring)
    if undone and _shards_with_a_job(session, OPEN).isdisjoint(undone):
        scoring.started_at = now()  # nobody was at work on it
    jobs.enqueue_all(session, JobKind.SCORE_SHARD, {str(shard_id): {"shard_id": shard_id} for shard_id in undone})
    return bool(undone)


def complete(session: Session, scoring: Scoring, agreement: dict[str, float | None]) -> None:
    """Note that all of the pool is scored, and how steady the ranking is: from now on this scoring ranks."""
    finished = now()
    if scoring.completed_at is None or scoring.completed_at < scoring.started_at:
        scoring.seconds = (finished - scoring.started_at).total_seconds()
    scoring.completed_at, scoring.agreement = finished, agreement


def halves_of(session: Session, scoring: Scoring, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of all patches by each half of the passes, in the order of the patches' ids.

    Returns:
        Two arrays (N,) in nats; NaN where a release of before did not keep them.
    """
    statement = select(Score.first_half, Score.second_half).where(
        Score.scoring_id == scoring.id, Score.measure == measure
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
    """Say how far a scoring is, over all its shards: one number, whoever works on them."""
    of_scoring = Shard.scoring_id == scoring.id
    is_done = of_scoring & Shard.done_at.is_not(None)
    total, _ = _patches_and_seconds(session, of_scoring)
    finished, _ = _patches_and_seconds(session, is_done)
    paced, worked_s = _patches_and_seconds(session, is_done & Shard.seconds.is_not(None))
    at_work = select(Job).where(Job.kind == JobKind.SCORE_SHARD, Job.state == JobState.RUNNING)
    by_shard = {job.subject["shard_id"]: job for job in session.scalars(at_work)}
    undone = select(Shard.id).where(of_scoring, Shard.done_at.is_(None), Shard.id.in_(by_shard))
    running = [by_shard[shard_id] for shard_id in session.scalars(undone)]
    under_way = sum(job.done for job in running)
    done, paced = finished + under_way, paced + under_way
    worked_s += sum((now() - job.started_at).total_seconds() for job in running if job.started_at is not None)
    eta_s = worked_s / paced * (total - done) / len(running) if running and paced else None
    return Progress(done, total, eta_s)


def _patches_and_seconds(session: Session, which: ColumnElement[bool]) -> tuple[int, float]:
    """Add up the patches of shards, and the seconds that they took; there may be thousands."""
    patches, seconds = session.execute(select(func.sum(Shard.patch_count), func.sum(Shard.seconds)).where(which)).one()
    return patches or 0, seconds or 0.0


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
    if not _has_pool(session) or (last is not None and last.state is JobState.FAILED):
        return None
    scoring = _find(session, version, settings)
    if scoring is not None and not _unplanned(session, scoring):
        undone = _undone(session, scoring)
        left_to_others = undone and _shards_with_a_job(session, (*OPEN, JobState.FAILED)).issuperset(undone)
        if left_to_others or (not undone and scoring == newest(session)):
            return None
    return jobs.enqueue(session, JobKind.SCORE_POOL)


def _shards_with_a_job(session: Session, states: Sequence[JobState]) -> set[int]:
    kept = select(Job.subject).where(Job.kind == JobKind.SCORE_SHARD, Job.state.in_(states))
    return {subject["shard_id"] for subject in session.scalars(kept)}


def _undone(session: Session, scoring: Scoring) -> Sequence[int]:
    """Return the ids of the shards that are not done, those of most patches first."""
    statement = select(Shard.id).where(Shard.scoring_id == scoring.id, Shard.done_at.is_(None))
    return session.scalars(statement.order_by(Shard.patch_count.desc(), Shard.id)).all()


def _has_pool(session: Session) -> bool:
    statement = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    return session.scalar(statement.limit(1)) is not None
