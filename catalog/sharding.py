"""How the scoring of the pool is cut into shards, each scored by a job of its own.

A large pool is surveyed first, by one pass without dropout. All passes are then spent on the patches that it leaves
contested, in shards of a further stage; a small pool meets all passes at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true, update
from sqlalchemy.orm import Session

from catalog.records import Patch, Scene, SceneRole, SceneState, Score, Scoring, Shard
from catalog.settings import Strategy

# Each is a row and a job, which the clock goes through every few seconds.
MOST_SHARDS: Final = 2000

SURVEYED: Final = (Strategy.ENTROPY_TOP10, Strategy.ENTROPY_MEAN)
"""The rankings that a survey prepares. Mutual information is what passes disagree on: one pass knows nothing of it."""
SURVEY: Final = 0  # passes of a survey, which drop anything
_SURVEY_SPEED: Final = 8  # its shards are so much larger than those of all passes
_LEAST: Final = 1e-9  # nats; what a survey scores lower is without data, or beyond doubt


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
    scenes = {scene.id: scene for scene in unplanned(session, scoring)}
    rows = _rows_of_patches(session, Patch.scene_id.in_(scenes))
    if share < 1 and sum(_pixels(scene, scene.patch_count) for scene in scenes.values()) > pixels:
        scoring.share = min(scoring.share, share)
        survey = partial(Shard, scoring_id=scoring.id, stage=0, passes=SURVEY, evaluated=False)
        _cut(session, survey, scenes, rows, _SURVEY_SPEED * pixels)
    else:
        _cut(session, partial(Shard, scoring_id=scoring.id, stage=0, passes=scoring.passes), scenes, rows, pixels)


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


def unplanned(session: Session, scoring: Scoring) -> Sequence[Scene]:
    """Return the ready scenes of the pool that a scoring knows nothing of."""
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


def patches_of(session: Session, shard: Shard) -> Sequence[Patch]:
    """Return the patches of a shard, row by row."""
    statement = select(Patch).where(
        Patch.scene_id == shard.scene_id, Patch.row_off.between(shard.first_row, shard.last_row)
    )
    if shard.contested_from is not None:
        statement = statement.where(_is_contested(shard.scoring_id, shard.contested_from))
    return session.scalars(statement.order_by(Patch.row_off, Patch.col_off)).all()
