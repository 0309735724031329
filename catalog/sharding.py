"""How the scoring of the pool is cut into shards, each scored by a job of its own.

A large pool is scored in two stages. A screening pass, deterministic because it drops nothing, scores every patch. The
patches that it ranks highest make the shortlist, which all T passes of Monte Carlo dropout score again, in shards of a
further stage. A small pool skips the screening: all of it gets all T passes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true, update
from sqlalchemy.orm import Session

from catalog import set_aside
from catalog.records import Patch, Scene, SceneRole, SceneState, Score, Scoring, Shard, ShardKind
from catalog.set_aside import Kind

# Each shard is a row and a job, and the clock looks at all open jobs every few seconds.
MOST_SHARDS: Final = 2000

SCREENED_MEASURES: Final = ("entropy_top10", "entropy_mean", "margin_top10")
"""The measures that one deterministic pass gives. How far T passes disagree is not among them."""

SHORTLIST_MEASURES: Final = ("entropy_top10", "entropy_mean")
"""The measures of the screening pass by whose ranking patches get all T passes."""

_SCREENING_SPEED: Final = 8  # a shard of the screening pass holds eight times the pixels: one pass instead of twenty
_LOWEST_SHORTLISTED: Final = 1e-9  # nats; a lower score means no data, or no uncertainty at all


def plan(session: Session, scoring: Scoring, pixels: int, share: float) -> None:
    """Add shards for the ready scenes of the pool that this scoring has none for yet.

    A shard is made of whole rows of patches; the shards of a scene are about equally large. If these scenes are larger
    than one shard, they are screened first, and :func:`plan_shortlist` follows.

    Args:
        session: a writing session.
        scoring: gets the shards.
        pixels: pixels of a Monte Carlo shard, roughly; larger if the pool would make more than ``MOST_SHARDS``.
        share: share of the screened patches that gets all T passes, in (0, 1]; 1 leaves out the screening.
    """
    scenes = {scene.id: scene for scene in unplanned(session, scoring)}
    rows = _rows_of_patches(session, Patch.scene_id.in_(scenes))
    if share < 1 and sum(_pixels(scene, scene.patch_count) for scene in scenes.values()) > pixels:
        scoring.shortlist_share = min(scoring.shortlist_share, share)
        screening = partial(_shard, scoring, stage=0, kind=ShardKind.SCREENING, shortlist_planned=False)
        _cut(session, screening, scenes, rows, _SCREENING_SPEED * pixels)
    else:
        _cut(session, partial(_shard, scoring, stage=0, kind=ShardKind.MONTE_CARLO), scenes, rows, pixels)


def plan_shortlist(session: Session, scoring: Scoring, pixels: int, share: float) -> bool:
    """Add the shards of the next stage, which give all T passes to the shortlist of the screening pass.

    On the shortlist are the patches that rank within ``share`` by any of the ``SHORTLIST_MEASURES``: nearly all patches
    that T passes would rank in the top tenth are in the top fifth of the screening pass (docs/benchmarks.md). Scenes
    that were added later have a shortlist of their own. If the share has grown, the next patches of all scenes follow.

    Args:
        session: a writing session.
        scoring: all its shards are done.
        pixels: as in :func:`plan`.
        share: as in :func:`plan`.

    Returns:
        False if the shortlist for this share had been planned before.
    """
    if is_shortlist_planned(session, scoring, share):
        return False
    screened = select(Shard.scene_id).where(Shard.scoring_id == scoring.id, Shard.kind == ShardKind.SCREENING)
    new = screened.where(Shard.shortlist_planned == false(), is_usable())
    old = screened.where(Shard.shortlist_planned == true())
    is_new, is_old = (bool(session.scalar(select(which.exists()))) for which in (new, old))
    # Without a condition if all scenes are new: looking up the scene of a million scores takes seconds.
    among = [Patch.scene_id.in_(new)] if is_old and share <= scoring.shortlist_share else []
    left = share if is_new else (share - scoring.shortlist_share) / (1 - scoring.shortlist_share)
    shortlist_from = {name: _lowest_on_shortlist(session, scoring, name, left, among) for name in SHORTLIST_MEASURES}
    last = session.scalar(select(func.max(Shard.stage)).where(Shard.scoring_id == scoring.id)) or 0
    rows = _rows_of_patches(session, and_(*among, _is_on_shortlist(scoring.id, shortlist_from)))
    scenes = {scene.id: scene for scene in session.scalars(select(Scene).where(Scene.id.in_(rows)))}
    finer = partial(_shard, scoring, stage=last + 1, kind=ShardKind.MONTE_CARLO, shortlist_from=shortlist_from)
    _cut(session, finer, scenes, rows, pixels)
    planned = update(Shard).where(Shard.scoring_id == scoring.id, is_usable()).values(shortlist_planned=True)
    session.execute(planned, execution_options={"synchronize_session": "fetch"})
    scoring.shortlist_share = share
    return True


def is_shortlist_planned(session: Session, scoring: Scoring, share: float) -> bool:
    """Return whether the shortlist for this share has been planned; True without a screening pass."""
    return scoring.shortlist_share >= share and not session.scalar(
        select(exists().where(Shard.scoring_id == scoring.id, Shard.shortlist_planned == false(), is_usable()))
    )


def unplanned(session: Session, scoring: Scoring) -> Sequence[Scene]:
    """Return the ready scenes of the pool that have no shard in this scoring and are not set aside."""
    planned = select(Shard.scene_id).where(Shard.scoring_id == scoring.id)
    statement = select(Scene).where(
        Scene.role == SceneRole.POOL,
        Scene.state == SceneState.READY,
        Scene.id.not_in(planned),
        Scene.id.not_in(set_aside.numbers(Kind.SCENE)),
    )
    return session.scalars(statement.order_by(Scene.id)).all()


def is_usable() -> ColumnElement[bool]:
    """Return the condition that the scene of a shard is not set aside: a scoring is complete without such scenes."""
    return Shard.scene_id.not_in(set_aside.numbers(Kind.SCENE))


def patches_of(session: Session, shard: Shard) -> Sequence[Patch]:
    """Return the patches of a shard that still need its scores, row by row.

    Patches of a shortlist leave it as soon as their scores by all T passes are stored.
    """
    statement = select(Patch).where(
        Patch.scene_id == shard.scene_id, Patch.row_off.between(shard.first_row, shard.last_row)
    )
    if shard.shortlist_from is not None:
        statement = statement.where(_is_on_shortlist(shard.scoring_id, shard.shortlist_from))
    return session.scalars(statement.order_by(Patch.row_off, Patch.col_off)).all()


def _shard(scoring: Scoring, **values: object) -> Shard:
    return Shard(scoring_id=scoring.id, **values)


def _lowest_on_shortlist(
    session: Session, scoring: Scoring, measure: str, share: float, among: Sequence[ColumnElement[bool]]
) -> float:
    """Return the lowest score within this share of the patches that are only screened; 0 for a share of 1."""
    if share == 1:
        return 0.0
    screened = select(Score.value).where(
        Score.scoring_id == scoring.id, Score.measure == measure, Score.screening == true()
    )
    for which in among:
        screened = screened.where(Score.patch_id.in_(select(Patch.id).where(which)))
    count = session.scalar(select(func.count()).select_from(screened.subquery())) or 0
    ranking = screened.order_by(Score.value.desc(), Score.patch_id.desc())
    last = session.scalar(ranking.offset(max(0, math.ceil(share * count) - 1)).limit(1))
    return max(last or 0.0, _LOWEST_SHORTLISTED)


def _is_on_shortlist(scoring_id: int, shortlist_from: Mapping[str, float]) -> ColumnElement[bool]:
    """Return the condition that a screening score of a patch reaches the shortlist by any measure."""
    high = or_(*(and_(Score.measure == measure, Score.value >= value) for measure, value in shortlist_from.items()))
    return exists().where(Score.scoring_id == scoring_id, Score.patch_id == Patch.id, Score.screening == true(), high)


def _rows_of_patches(session: Session, which: ColumnElement[bool]) -> dict[int, dict[int, int]]:
    """Return the number of patches by scene and by the row of pixels where they begin."""
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
    """Add shards of about ``pixels`` pixels; ``rows`` holds the number of patches by scene and row."""
    sizes = {scene_id: _pixels(scenes[scene_id], sum(of_scene.values())) for scene_id, of_scene in rows.items()}
    pixels = max(pixels, sum(sizes.values()) // MOST_SHARDS)
    for scene_id, of_scene in rows.items():
        for of_shard in _split_rows(of_scene, max(1, round(sizes[scene_id] / pixels))):
            place = {"scene_id": scene_id, "first_row": min(of_shard), "last_row": max(of_shard)}
            session.add(shard(**place, patch_count=sum(of_shard.values())))
    session.flush()


def _pixels(scene: Scene, patches: int) -> int:
    return patches * scene.patch_size_px**2


def _split_rows(rows: Mapping[int, int], parts: int) -> Iterable[dict[int, int]]:
    """Split rows, in their order, into at most this many parts of about equally many patches."""
    total, before, part_of = sum(rows.values()), 0, {}
    for row, count in rows.items():
        part_of[row] = before * parts // total
        before += count
    for _, of_part in groupby(rows, key=part_of.__getitem__):
        yield {row: rows[row] for row in of_part}
