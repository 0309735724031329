"""The patches that may be proposed, read in the order in which a round takes them and no further than it needs.

A pool may hold millions of patches and a round takes a few of them. So none of these readings grows with the pool:
each looks at pages of patches in its order and leaves out those that may not be proposed, until nobody asks for more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, exists, false, func, null, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from catalog.records import Patch, PatchState, Round, Scene, SceneRole, SceneState, Score

PAGE: Final = 1000  # patches looked at together
MAY_BE_PROPOSED: Final = (PatchState.UNLABELLED, PatchState.PARTLY_LABELLED)


@dataclass(frozen=True)
class Candidate:
    """A patch that may be proposed: where it lies, and its score by the round's measure (None without one).

    Attributes:
        patch_id: Of the patch.
        scene_id: Of its scene, whose patches are all of one size.
        row_off: Its first row in the scene, in pixels.
        col_off: Its first column, in pixels.
        size_px: Its side, in pixels.
        score: In nats.
    """

    patch_id: int
    scene_id: int
    row_off: int
    col_off: int
    size_px: int
    score: float | None


def count(
    session: Session, min_valid_share: float, at_most: int, scoring_id: int | None = None, measure: str | None = None
) -> int:
    """Count the patches that may be proposed: of ready pool scenes, untouched, with enough valid pixels.

    Args:
        session: any session.
        min_valid_share: what is enough.
        at_most: count no further; to learn whether there is any, 1.
        scoring_id: count only those with a score by this scoring ...
        measure: ... and this measure.
    """
    statement = select(Patch.id).where(*_may_be_proposed(Patch, min_valid_share))
    if scoring_id is not None:
        statement = statement.where(exists().where(*_score_of(Patch, scoring_id, measure)))
    return session.scalar(select(func.count()).select_from(statement.limit(at_most).subquery())) or 0


def ranked(session: Session, of_round: Round, min_valid_share: float) -> Iterator[Candidate]:
    """Yield the patches that may be proposed by their scores, highest first; equal ones by their ids, highest first.

    Those that a survey left out come behind all that met all passes: scores of the one do not compare with the other's.
    Takes time in proportion to how far it is read, patches that may not be proposed any more included: it walks down
    the index of scores.
    """
    ranking = (
        select(Score.value, Score.patch_id)
        .where(Score.scoring_id == of_round.scoring_id, Score.measure == of_round.strategy.value)
        .order_by(Score.value.desc(), Score.patch_id.desc())
        .limit(PAGE)
    )
    for surveyed in (false(), true()):
        part = ranking.where(Score.surveyed == surveyed)
        page = session.execute(_with_places(part, min_valid_share)).all()
        while page:
            yield from (Candidate(*row[:6]) for row in page if row[0] is not None)
            below = tuple_(Score.value, Score.patch_id) < tuple_(*page[-1][5:])
            page = session.execute(_with_places(part.where(below), min_valid_share)).all()


def _with_places(ranking: Select[float, int], min_valid_share: float) -> Select[Any]:
    """Add to a part of the ranking where its patches lie; nulls for those that may not be proposed."""
    part = ranking.subquery()
    may_be_proposed = and_(*_may_be_proposed(Patch, min_valid_share))
    return (
        select(Patch.id, Patch.scene_id, Patch.row_off, Patch.col_off, Patch.size_px, part)
        .outerjoin_from(part, Patch, (Patch.id == part.c.patch_id) & may_be_proposed)
        .order_by(part.c.value.desc(), part.c.patch_id.desc())
    )


def shuffled(
    session: Session, of_round: Round, min_valid_share: float, generator: np.random.Generator
) -> Iterator[Candidate]:
    """Yield the patches that may be proposed in an order in which each is equally likely at every place.

    Shuffles the ids of all patches there are, which are nearly consecutive (30 ms and 8 MB for a million), and then
    takes time in proportion to how far it is read.
    """
    first, last = session.execute(select(func.min(Patch.id), func.max(Patch.id))).one()
    if first is None:
        return
    ids = generator.permutation(np.arange(first, last + 1))
    for start in range(0, len(ids), PAGE):
        yield from _among(session, ids[start : start + PAGE].tolist(), of_round, min_valid_share)


def _among(session: Session, ids: Sequence[int], of_round: Round, min_valid_share: float) -> Iterator[Candidate]:
    """Yield those patches that may be proposed, in the order of the ids given."""
    # Without its statistics SQLite would rather look for the ids among all patches that are not labelled.
    page = aliased(Patch, select(Patch).where(Patch.id.in_(ids)).cte("page").prefix_with("MATERIALIZED"))
    score = null() if of_round.scoring_id is None else Score.value
    statement = select(page.id, page.scene_id, page.row_off, page.col_off, page.size_px, score)
    statement = statement.where(*_may_be_proposed(page, min_valid_share))
    if of_round.scoring_id is not None:
        statement = statement.where(*_score_of(page, of_round.scoring_id, of_round.strategy.value))
    found = {row[0]: Candidate(*row) for row in session.execute(statement)}
    return (found[patch_id] for patch_id in ids if patch_id in found)


def _may_be_proposed(patch: type[Patch], min_valid_share: float) -> tuple[ColumnElement[bool], ...]:
    ready = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    return patch.scene_id.in_(ready), patch.state.in_(MAY_BE_PROPOSED), patch.valid_share >= min_valid_share


def _score_of(patch: type[Patch], scoring_id: int, measure: str | None) -> tuple[ColumnElement[bool], ...]:
    return Score.scoring_id == scoring_id, Score.patch_id == patch.id, Score.measure == measure
