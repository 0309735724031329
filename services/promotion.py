"""Promote, keep or roll back a version, and store each decision with its reason and actor.

A decision writes to two systems: a row in our database and an alias in MLflow. The row is committed first, as an
intent. If the process dies in between, `settle_intents` completes or deletes the intent, depending on the alias in
MLflow. MLflow is called outside any transaction, so that a slow MLflow does not block the database.
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
"""Age from which an intent counts as abandoned; no call to MLflow takes that long."""


def promote(catalog: Catalog, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Make a version the champion, and enqueue the scoring of the pool by it.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it is served already.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    registry.get(version)
    serving = registry.aliases().get(CHAMPION)
    if serving == version:
        raise ConflictError(f"version {version} is served already")
    return _move(catalog, registry, CHAMPION, _intent(version, serving, PROMOTED, reason, actor))


def roll_back(catalog: Catalog, registry: ModelRegistry, reason: str, actor: str) -> Promotion:
    """Make the version the champion again that was served before the present champion was promoted.

    Promotions are a stack: a second roll-back goes further back.

    Raises:
        ConflictError: no earlier champion is known.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    serving = registry.aliases().get(CHAMPION)
    with catalog.read() as session:
        earlier = _served_before(session, serving)
    if earlier is None:
        found = "no version is served" if serving is None else f"no version was served before {serving}"
        raise ConflictError(f"{found}; promote a version by its number")
    return _move(catalog, registry, CHAMPION, _intent(earlier, serving, ROLLED_BACK, reason, actor))


def keep(catalog: Catalog, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Store that a version does not replace the champion, and give it the alias ``challenger``.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    serving = registry.aliases().get(CHAMPION)
    return _move(catalog, registry, CHALLENGER, _intent(version, serving, KEPT, reason, actor))


def settle_intents(catalog: Catalog, registry: ModelRegistry, version: int | None = None) -> None:
    """Complete the intents that took effect in MLflow, and delete those that did not.

    Args:
        catalog: holds the intents.
        registry: holds the aliases.
        version: settle the intents of this version at any age. None: all intents older than ``SETTLE_AFTER``; younger
            ones may still be in progress.

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
    """Return the version below the one that is served on the stack of promotions.

    An intent counts only if MLflow serves its version; else it has not taken effect.
    """
    stack: list[int] = []
    in_effect = Promotion.completed_at.is_not(None) | (Promotion.model_version == serving)
    moves = select(Promotion).where(Promotion.verdict != KEPT, in_effect).order_by(Promotion.id)
    for move in session.scalars(moves):
        if move.previous_version is not None and move.previous_version not in stack[-1:]:
            stack.append(move.previous_version)  # promoted in MLflow's own page
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
        raise  # the alias may have moved or not: the intent is settled later
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
