"""Which version is served: moving the champion, with the reason and the actor kept.

Two systems are written: a row of ours, and an alias in MLflow. The row comes first, as an intent. A process that dies
between the two leaves the intent behind, and `settle_intents` completes or drops it by what MLflow then says. MLflow is
asked outside any transaction: while it hesitates, nobody waits for the database.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import CatalogError, ConflictError, ServiceDownError
from catalog.records import JobKind, Promotion, now
from catalog.registry import CHALLENGER, CHAMPION, ModelRegistry

PROMOTED = "promoted"
KEPT = "kept"
ROLLED_BACK = "rolled back"

SETTLE_AFTER: Final = timedelta(minutes=1)
"""Age at which an intent is taken for one that was left behind: no call to MLflow takes as long."""


def promote(catalog: Catalog, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Let a version be served, and have the pool scored by it.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it is served already.
        ServiceDownError: MLflow does not answer; what it has done is found out later (`settle_intents`).
    """
    registry.get(version)
    serving = registry.aliases().get(CHAMPION)
    if serving == version:
        raise ConflictError(f"version {version} is served already")
    return _move(catalog, registry, CHAMPION, _intent(version, serving, PROMOTED, reason, actor))


def roll_back(catalog: Catalog, registry: ModelRegistry, reason: str, actor: str) -> Promotion:
    """Let the version be served again that was served before the present champion was promoted.

    Promotions are a stack: a second roll-back goes further back.

    Raises:
        ConflictError: no earlier champion is known.
        ServiceDownError: MLflow does not answer; what it has done is found out later (`settle_intents`).
    """
    serving = registry.aliases().get(CHAMPION)
    with catalog.read() as session:
        earlier = _served_before(session, serving)
    if earlier is None:
        raise ConflictError(f"found no version that was served before {serving}; promote a version by its number")
    return _move(catalog, registry, CHAMPION, _intent(earlier, serving, ROLLED_BACK, reason, actor))


def keep(catalog: Catalog, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Note that a version does not replace the champion; the alias ``challenger`` names it.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; what it has done is found out later (`settle_intents`).
    """
    serving = registry.aliases().get(CHAMPION)
    return _move(catalog, registry, CHALLENGER, _intent(version, serving, KEPT, reason, actor))


def settle_intents(catalog: Catalog, registry: ModelRegistry, version: int | None = None) -> None:
    """Complete the intents that took effect in MLflow, and drop those that did not.

    Args:
        catalog: has the intents.
        registry: says which version each alias names.
        version: settle only the intents about this version, whatever their age; otherwise young intents are left to the
            process that is carrying them out.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    which = Promotion.decided_at <= now() - SETTLE_AFTER if version is None else Promotion.model_version == version
    left_behind = select(Promotion).where(Promotion.completed_at.is_(None), which)
    with catalog.read() as session:
        intents = session.scalars(left_behind.order_by(Promotion.id)).all()
    if not intents:
        return
    aliases = registry.aliases()
    for intent in intents:
        alias = CHALLENGER if intent.verdict == KEPT else CHAMPION
        if aliases.get(alias) == intent.model_version:
            _complete(catalog, intent)
        else:
            _drop(catalog, intent)


def _served_before(session: Session, serving: int | None) -> int | None:
    """Return the version below the one that is served on the stack of promotions."""
    stack: list[int] = []
    moves = select(Promotion).where(Promotion.verdict != KEPT).order_by(Promotion.id)
    for move in session.scalars(moves):
        if move.previous_version is not None and move.previous_version not in stack[-1:]:
            stack.append(move.previous_version)  # served by a move in MLflow's own page
        if move.verdict == ROLLED_BACK and move.model_version in stack:
            while stack[-1] != move.model_version:
                stack.pop()
        else:
            stack.append(move.model_version)
    if serving is not None and serving in stack[-1:]:
        stack.pop()
    return stack[-1] if stack else None


def _intent(version: int, previous: int | None, verdict: str, reason: str, actor: str) -> Promotion:
    return Promotion(model_version=version, previous_version=previous, verdict=verdict, reason=reason, actor=actor)


def _move(catalog: Catalog, registry: ModelRegistry, alias: str, intent: Promotion) -> Promotion:
    with catalog.database.write() as session:
        session.add(intent)
    try:
        registry.move_alias(alias, intent.model_version)
    except ServiceDownError:
        raise  # nobody knows whether the alias moved: the intent is settled later
    except CatalogError:
        _drop(catalog, intent)
        raise
    return _complete(catalog, intent)


def _complete(catalog: Catalog, intent: Promotion) -> Promotion:
    with catalog.write() as session:
        completed = session.merge(intent)  # adds it again if another process has dropped it meanwhile
        completed.completed_at = now()
        if completed.verdict != KEPT:
            jobs.enqueue(session, JobKind.SCORE_POOL)
    return completed


def _drop(catalog: Catalog, intent: Promotion) -> None:
    with catalog.database.write() as session:
        session.execute(delete(Promotion).where(Promotion.id == intent.id, Promotion.completed_at.is_(None)))
