"""Promote, keep or roll back a version and set back the learner; store each decision with its reason and actor.

Three aliases in MLflow are moved: ``champion`` is served, ``learner`` is what training goes on from, and ``challenger``
is the last version that the gate kept back.

| decision | by | champion | learner | challenger |
|---|---|---|---|---|
| promoted | the gate | the new version | the new version | |
| kept | the gate | | the new version | the new version |
| set back | a rule (`workers.conclusion`), or a person | | the champion | |
| promoted or rolled back | a person | the version chosen | the version chosen | |

A person who replaces the version that is served does so because it is bad; its successors have learnt from it. So
training goes on from the version that the person chose.

A decision writes to two systems: a row in our database and aliases in MLflow. The row is committed first, as an
intent, and the alias that tells whether it took effect is moved last. If the process dies in between, `settle_intents`
completes or deletes the intent, depending on that alias. MLflow is called outside any transaction, so that a slow
MLflow does not block the database.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import CatalogError, ConflictError, ServiceDownError
from catalog.records import JobKind, Promotion, now
from catalog.registry import CHALLENGER, CHAMPION, LEARNER, ModelRegistry

PROMOTED = "promoted"
KEPT = "kept"
ROLLED_BACK = "rolled back"
SET_BACK = "set back"

GATE: Final = "gate"
"""Who made the decisions that no person made."""
SERVING: Final = (PROMOTED, ROLLED_BACK)
"""Decisions that change which version is served."""

_TELLING: Final = {PROMOTED: CHAMPION, ROLLED_BACK: CHAMPION, KEPT: CHALLENGER, SET_BACK: LEARNER}
"""The alias that tells whether a decision took effect."""

SETTLE_AFTER: Final = timedelta(minutes=1)
"""Age from which an intent counts as abandoned; no call to MLflow takes that long."""

Evidence = Mapping[str, Any]
"""`models.gate.GateEvidence` as JSON."""


def promote(catalog: Catalog, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Make a version the champion and the learner, because a person wants it.

    If it is served already and another version is the learner, only the learner is set back to it.

    Args:
        catalog: stores the decision.
        registry: holds the aliases.
        version: the version.
        reason: why.
        actor: who decided.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it is served already, and the learner.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    registry.get(version)
    aliases = registry.aliases()
    serving = aliases.get(CHAMPION)
    if serving == version:
        learner = aliases.get(LEARNER, version)
        if learner == version:
            raise ConflictError(f"version {version} is served already")
        return set_back_learner(catalog, registry, learner, version, reason, actor)
    return _move(catalog, registry, _intent(version, serving, PROMOTED, reason, actor), move_learner=True)


def roll_back(catalog: Catalog, registry: ModelRegistry, reason: str, actor: str) -> Promotion:
    """Serve the version again that was served before the present champion was promoted; make it the learner, too.

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
    return _move(catalog, registry, _intent(earlier, serving, ROLLED_BACK, reason, actor), move_learner=True)


def apply_verdict(
    catalog: Catalog,
    registry: ModelRegistry,
    version: int,
    reason: str,
    evidence: Evidence | None,
    *,
    promoted: bool,
    move_learner: bool = True,
) -> Promotion:
    """Make a version the champion, or the challenger if the gate kept it back; the learner in either case.

    Args:
        catalog: stores the decision.
        registry: holds the aliases.
        version: the version, which is not served yet.
        reason: the gate's reason.
        evidence: what the verdict rests on; None for the first version.
        promoted: whether it replaces the champion.
        move_learner: False leaves the learner where it is.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    verdict, serving = PROMOTED if promoted else KEPT, registry.aliases().get(CHAMPION)
    intent = _intent(version, serving, verdict, reason, GATE, evidence)
    return _move(catalog, registry, intent, move_learner=move_learner)


def set_back_learner(
    catalog: Catalog, registry: ModelRegistry, learner: int, champion: int, reason: str, actor: str
) -> Promotion:
    """Make the champion the learner, so that training goes on from what is served.

    Args:
        catalog: stores the decision.
        registry: holds the aliases.
        learner: the learner until now.
        champion: the version that is served.
        reason: why.
        actor: who decided.

    Raises:
        NotFoundError: the champion was deleted in MLflow.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    return _move(catalog, registry, _intent(champion, learner, SET_BACK, reason, actor), move_learner=False)


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
        if aliases.get(_TELLING[intent.verdict]) == intent.model_version:
            _complete(catalog, intent)
        else:
            _drop(catalog, intent)


def decisions(session: Session, limit: int) -> Sequence[Promotion]:
    """Return the latest decisions that took effect, newest first."""
    taken = select(Promotion).where(Promotion.completed_at.is_not(None))
    return session.scalars(taken.order_by(Promotion.id.desc()).limit(limit)).all()


def _served_before(session: Session, serving: int | None) -> int | None:
    """Return the version below the one that is served on the stack of promotions.

    An intent counts only if MLflow serves its version; else it has not taken effect.
    """
    stack: list[int] = []
    in_effect = Promotion.completed_at.is_not(None) | (Promotion.model_version == serving)
    moves = select(Promotion).where(Promotion.verdict.in_(SERVING), in_effect).order_by(Promotion.id)
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


def _intent(
    version: int, previous: int | None, verdict: str, reason: str, actor: str, evidence: Evidence | None = None
) -> Promotion:
    return Promotion(
        model_version=version,
        previous_version=previous,
        verdict=verdict,
        reason=reason,
        actor=actor,
        evidence=None if evidence is None else dict(evidence),
    )


def _move(catalog: Catalog, registry: ModelRegistry, intent: Promotion, *, move_learner: bool) -> Promotion:
    with catalog.database.write() as session:
        session.add(intent)
    try:
        if move_learner:
            registry.move_alias(LEARNER, intent.model_version)
        registry.move_alias(_TELLING[intent.verdict], intent.model_version)
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
        if completed.verdict in SERVING or catalog.settings.scoring_version == LEARNER:
            jobs.enqueue(session, JobKind.SCORE_POOL)
    return completed


def _drop(catalog: Catalog, intent: Promotion) -> None:
    with catalog.database.write() as session:
        session.execute(delete(Promotion).where(Promotion.id == intent.id, Promotion.completed_at.is_(None)))
