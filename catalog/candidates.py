"""The patches that may be proposed, as lazy iterators in the order in which a round takes them.

A pool may hold millions of patches, of which a round takes a few. The iterators therefore fetch one page of patches at
a time, skip those that may not be proposed, and stop when the caller stops.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, and_, exists, false, func, null, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from catalog import set_aside
from catalog.records import Patch, PatchState, Round, Scene, SceneRole, SceneState, Score
from catalog.references import REFERENCE_PATCHES
from catalog.set_aside import Kind

PAGE: Final = 1000  # patches fetched together
MAY_BE_PROPOSED: Final = (PatchState.UNLABELLED, PatchState.PARTLY_LABELLED)


@dataclass(frozen=True)
class Candidate:
    """A patch that may be proposed: where it lies, and its score.

    Attributes:
        patch_id: Id of the patch.
        scene_id: Id of its scene; all patches of a scene have the same size.
        row_off: First row in the scene, in pixels.
        col_off: First column in the scene, in pixels.
        size_px: Side in pixels.
        score: Score by the round's measure, in its unit; None if the round has no measure.
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
    """Count the patches that may be proposed: in ready pool scenes, not or partly labelled, with enough valid pixels.

    Args:
        session: any session.
        min_valid_share: least share of valid pixels, in [0, 1].
        at_most: stop counting there; 1 to learn whether there is any.
        scoring_id: count only patches with a score of this scoring; all if None.
        measure: the measure of that score.
    """
    statement = select(Patch.id).where(*_may_be_proposed(Patch, min_valid_share))
    if scoring_id is not None:
        statement = statement.where(exists().where(*_score_of(Patch, scoring_id, measure)))
    return session.scalar(select(func.count()).select_from(statement.limit(at_most).subquery())) or 0


def ranked(session: Session, of_round: Round, min_valid_share: float) -> Iterator[Candidate]:
    """Yield the patches that may be proposed, highest score first; of equal scores, the highest patch id first.

    Patches with only a screening score follow all that T passes have scored: the two kinds of score do not compare.
    Walks down the index of scores: cost grows with the rows scanned, including ineligible patches.
    """
    ranking = (
        select(Score.value, Score.patch_id)
        .where(Score.scoring_id == of_round.scoring_id, Score.measure == of_round.measure)
        .order_by(Score.value.desc(), Score.patch_id.desc())
        .limit(PAGE)
    )
    for screening in (false(), true()):
        part = ranking.where(Score.screening == screening)
        page = session.execute(_with_places(part, min_valid_share)).all()
        while page:
            yield from (Candidate(*row[:6]) for row in page if row[0] is not None)
            below = tuple_(Score.value, Score.patch_id) < tuple_(*page[-1][5:])
            page = session.execute(_with_places(part.where(below), min_valid_share)).all()


def _with_places(ranking: Select[float, int], min_valid_share: float) -> Select[Any]:
    """Join a page of the ranking with the places of its patches; nulls for patches that may not be proposed."""
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
    """Yield the patches that may be proposed in a uniformly random order; only those with a score if the round ranks.

    Shuffles all integers between the lowest and the highest patch id, nearly all of which are ids (30 ms and 8 MB for a
    million). After that, cost grows with the rows scanned.
    """
    first, last = session.execute(select(func.min(Patch.id), func.max(Patch.id))).one()
    if first is None:
        return
    yield from in_order(session, of_round, min_valid_share, generator.permutation(np.arange(first, last + 1)))


def in_order(session: Session, of_round: Round, min_valid_share: float, ids: NDArray[np.int64]) -> Iterator[Candidate]:
    """Yield those patches that may be proposed, in the order of ``ids`` (N,); with a score if the round ranks.

    Cost grows with the rows scanned.
    """
    for start in range(0, len(ids), PAGE):
        yield from _among(session, ids[start : start + PAGE].tolist(), of_round, min_valid_share)


def labelled(session: Session) -> Sequence[int]:
    """Return the ids of the patches of the pool that have a standing label or wait for one, ascending."""
    of_pool = select(Scene.id).where(Scene.role == SceneRole.POOL)
    taken = (PatchState.LABELLED, PatchState.PARTLY_LABELLED, PatchState.PROPOSED)
    statement = select(Patch.id).where(Patch.scene_id.in_(of_pool), Patch.state.in_(taken)).order_by(Patch.id)
    return session.scalars(statement).all()


def _among(session: Session, ids: Sequence[int], of_round: Round, min_valid_share: float) -> Iterator[Candidate]:
    """Yield those patches among ``ids`` that may be proposed, in the order of ``ids``."""
    # Materialized, because SQLite without statistics would search all patches that are not labelled for the ids.
    page = aliased(Patch, select(Patch).where(Patch.id.in_(ids)).cte("page").prefix_with("MATERIALIZED"))
    scoring_id = of_round.scoring_id if of_round.measure is not None else None
    score = null() if scoring_id is None else Score.value
    statement = select(page.id, page.scene_id, page.row_off, page.col_off, page.size_px, score)
    statement = statement.where(*_may_be_proposed(page, min_valid_share))
    if scoring_id is not None:
        statement = statement.where(*_score_of(page, scoring_id, of_round.measure))
    found = {row[0]: Candidate(*row) for row in session.execute(statement)}
    return (found[patch_id] for patch_id in ids if patch_id in found)


def usable_scenes() -> Select[int]:
    """Return the query of the ids of the scenes of which rounds ask: of the pool, ready, and not set aside."""
    usable = Scene.id.not_in(set_aside.numbers(Kind.SCENE))
    return select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY, usable)


def _may_be_proposed(patch: type[Patch], min_valid_share: float) -> tuple[ColumnElement[bool], ...]:
    return (
        patch.scene_id.in_(usable_scenes()),
        patch.state.in_(MAY_BE_PROPOSED),
        patch.valid_share >= min_valid_share,
        patch.id.not_in(REFERENCE_PATCHES),  # a label of it would not teach
    )


def _score_of(patch: type[Patch], scoring_id: int, measure: str | None) -> tuple[ColumnElement[bool], ...]:
    return Score.scoring_id == scoring_id, Score.patch_id == patch.id, Score.measure == measure
