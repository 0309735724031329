"""The scoring of the pool by a model version: cut into shards, each scored by a job of its own, and put together.

A large pool is surveyed first, by one pass without dropout. All passes are then spent on the patches that it leaves
contested, in shards of a further stage; a small pool meets all passes at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, case, exists, false, func, or_, select, true, update
from sqlalchemy.orm import Session, joinedload

from catalog import jobs
from catalog.errors import NotFoundError
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneRole, SceneState, Score, Scoring, Shard, now
from catalog.settings import Settings, Strategy

# Each is a row and a job, which the clock goes through every few seconds.
MOST_SHARDS: Final = 2000
PAGE: Final = 10_000  # rows fetched together

SURVEYED: Final = (Strategy.ENTROPY_TOP10, Strategy.ENTROPY_MEAN)
"""The rankings that a survey prepares. Mutual information is what passes disagree on: one pass knows nothing of it."""
SURVEY: Final = 0  # passes of a survey, which drop anything
_SURVEY_SPEED: Final = 8  # its shards are so much larger than those of all passes
_EXPECTED_CONTESTED: Final = 1.5  # times the share, before a survey has shown it: two measures agree in part
_LEAST: Final = 1e-9  # nats; what a survey scores lower is without data, or beyond doubt

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


def plan(session: Session, scoring: Scoring, pixels: int, share: float) -> None:
    """Cut the ready scenes of the pool that this scoring knows nothing of into shards.

    A shard is made of whole rows of patches. Those of a scene are about equally large. If all these scenes are more
    than one shard, they are surveyed first; see :func:`plan_contested`.

    Args:
        session: a writing session.
        scoring: to plan.
        pixels: about so many in a shard that meets all passes; more in a pool so large that there would be thousands.
        share: of the pool, what all passes are to be spent on; 1: no survey.
    """
    unplanned = {scene.id: scene for scene in _unplanned(session, scoring)}
    rows = _rows_of_patches(session, Patch.scene_id.in_(unplanned))
    if share < 1 and sum(_pixels(scene, scene.patch_count) for scene in unplanned.values()) > pixels:
        scoring.share = min(scoring.share, share)
        survey = partial(Shard, scoring_id=scoring.id, stage=0, passes=SURVEY, evaluated=False)
        _cut(session, survey, unplanned, rows, _SURVEY_SPEED * pixels)
    else:
        _cut(session, partial(Shard, scoring_id=scoring.id, stage=0, passes=scoring.passes), unplanned, rows, pixels)


def plan_contested(session: Session, scoring: Scoring, pixels: int, share: float) -> bool:
    """After a survey, cut what it leaves contested into the shards of a further stage; tell whether that was to do.

    Contested are the patches that rank in this share of the survey by any measure that it prepares: nearly all that all
    passes would rank in the top tenth are in the top fifth of a survey (docs/benchmarks.md). A scene that comes later
    is a survey of its own. When the share has grown, the next patches of all surveys are taken.

    Args:
        session: a writing session.
        scoring: all its shards are done.
        pixels: as of :func:`plan`.
        share: of the pool, what all passes are to be spent on.
    """
    if is_evaluated(session, scoring, share):
        return False
    surveys = select(Shard.scene_id).where(Shard.scoring_id == scoring.id, Shard.passes == SURVEY)
    new, old = surveys.where(Shard.evaluated == false()), surveys.where(Shard.evaluated == true())
    is_new, is_old = (bool(session.scalar(select(which.exists()))) for which in (new, old))
    # Of the first survey all patches: looking at the scene of every score takes seconds in a pool of a million.
    among = [Patch.scene_id.in_(new)] if is_old and share <= scoring.share else []
    left = share if is_new else (share - scoring.share) / (1 - scoring.share)
    contested_from = {measure.value: _score_at(session, scoring, measure, left, among) for measure in SURVEYED}
    last = session.scalar(select(func.max(Shard.stage)).where(Shard.scoring_id == scoring.id)) or 0
    rows = _rows_of_patches(session, and_(*among, _is_contested(scoring.id, contested_from)))
    scenes = {scene.id: scene for scene in session.scalars(select(Scene).where(Scene.id.in_(rows)))}
    contested = partial(Shard, scoring_id=scoring.id, stage=last + 1, passes=scoring.passes)
    _cut(session, partial(contested, contested_from=contested_from), scenes, rows, pixels)
    session.execute(update(Shard).where(Shard.scoring_id == scoring.id).values(evaluated=True))
    scoring.share = share
    return True


def is_evaluated(session: Session, scoring: Scoring, share: float) -> bool:
    """Tell whether what surveys leave contested, with this share, is planned; also when there was no survey."""
    return scoring.share >= share and not session.scalar(
        select(exists().where(Shard.scoring_id == scoring.id, Shard.evaluated == false()))
    )


def _score_at(
    session: Session, scoring: Scoring, measure: Strategy, share: float, among: Sequence[ColumnElement[bool]]
) -> float:
    """The score of the last patch that ranks in a share of those that are only surveyed; 0 if the share is all."""
    if share == 1:
        return 0.0
    surveyed = select(Score.value).where(
        Score.scoring_id == scoring.id, Score.measure == measure.value, Score.surveyed == true()
    )
    for which in among:
        surveyed = surveyed.where(Score.patch_id.in_(select(Patch.id).where(which)))
    count = session.scalar(select(func.count()).select_from(surveyed.subquery())) or 0
    ranking = surveyed.order_by(Score.value.desc(), Score.patch_id.desc())
    return max(session.scalar(ranking.offset(max(0, math.ceil(share * count) - 1)).limit(1)) or 0.0, _LEAST)


def _is_contested(scoring_id: int, contested_from: Mapping[str, float]) -> ColumnElement[bool]:
    """Of a patch: a survey scores it so high by one of the measures."""
    high = or_(*(and_(Score.measure == measure, Score.value >= value) for measure, value in contested_from.items()))
    return exists().where(Score.scoring_id == scoring_id, Score.patch_id == Patch.id, Score.surveyed == true(), high)


def _rows_of_patches(session: Session, which: ColumnElement[bool]) -> dict[int, dict[int, int]]:
    """By scene where the rows of some patches begin, and how many of them each holds."""
    statement = select(Patch.scene_id, Patch.row_off, func.count()).where(which).group_by(Patch.scene_id, Patch.row_off)
    counted = session.execute(statement.order_by(Patch.scene_id, Patch.row_off)).all()
    return {
        scene_id: {row: count for _, row, count in of_scene}
        for scene_id, of_scene in groupby(counted, key=lambda found: found[0])
    }


def _cut(
    session: Session,
    shard: Callable[..., Shard],
    scenes: Mapping[int, Scene],
    rows: Mapping[int, Mapping[int, int]],
    pixels: int,
) -> None:
    """Add the shards of scenes, of whose rows of patches it is given how many each holds."""
    sizes = {scene_id: _pixels(scenes[scene_id], sum(of_scene.values())) for scene_id, of_scene in rows.items()}
    pixels = max(pixels, sum(sizes.values()) // MOST_SHARDS)
    for scene_id, of_scene in rows.items():
        for of_shard in _shared_out(of_scene, max(1, round(sizes[scene_id] / pixels))):
            place = {"scene_id": scene_id, "first_row": min(of_shard), "last_row": max(of_shard)}
            session.add(shard(**place, patch_count=sum(of_shard.values())))
    session.flush()


def _pixels(scene: Scene, patches: int) -> int:
    return patches * scene.patch_size_px**2


def _unplanned(session: Session, scoring: Scoring) -> Sequence[Scene]:
    planned = select(Shard.scene_id).where(Shard.scoring_id == scoring.id)
    statement = select(Scene).where(
        Scene.role == SceneRole.POOL, Scene.state == SceneState.READY, Scene.id.not_in(planned)
    )
    return session.scalars(statement.order_by(Scene.id)).all()


def _shared_out(rows: Mapping[int, int], shards: int) -> Iterable[dict[int, int]]:
    """Share rows out to at most so many shards, in their order, by how many patches come before them."""
    total, before, shard_of = sum(rows.values()), 0, {}
    for row, count in rows.items():
        shard_of[row] = before * shards // total
        before += count
    for _, of_shard in groupby(rows, key=shard_of.__getitem__):
        yield {row: rows[row] for row in of_shard}


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


def patches_of(session: Session, shard: Shard) -> Sequence[Patch]:
    """Return the patches of a shard, row by row."""
    statement = select(Patch).where(
        Patch.scene_id == shard.scene_id, Patch.row_off.between(shard.first_row, shard.last_row)
    )
    if shard.contested_from is not None:
        statement = statement.where(_is_contested(shard.scoring_id, shard.contested_from))
    return session.scalars(statement.order_by(Patch.row_off, Patch.col_off)).all()


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
    if not _has_pool(session) or (last is not None and last.state is JobState.FAILED):
        return None
    scoring = _find(session, version, settings)
    if scoring is not None and not _unplanned(session, scoring):
        undone = _undone(session, scoring)
        left_to_others = undone and _shards_with_a_job(session, (*OPEN, JobState.FAILED)).issuperset(undone)
        is_done = not undone and is_evaluated(session, scoring, settings.mc_contested_share)
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
