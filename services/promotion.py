"""Promote, keep or roll back a version and set back the learner; store each decision with its reason and actor.

Three aliases in MLflow are moved: ``champion`` is served, ``learner`` is what training goes on from, and ``challenger``
is the last version that the gate kept back.

| decision | by | champion | learner | challenger |
|---|---|---|---|---|
| promoted | the gate | the new version | the new version | |
| kept | the gate | | the new version | the new version |
| set back | a rule (`workers.conclusion`), or a person | | the champion | |
| promoted or rolled back | a person | the version chosen | the version chosen | |
| moved | somebody, in MLflow (`services.registry_watch`) | the version chosen | | |
| learner moved | the same | | the version chosen | |
| undone, learner undone | the server: that move was not obeyed | the version before | the version before | |

A person who replaces the version that is served does so because it is bad; its successors have learnt from it. So
training goes on from the version that the person chose.

A decision writes to two systems: a row in our database and aliases in MLflow. An intent is committed first, and the
alias that tells whether it took effect is moved last. Then one transaction replaces the intent by a row of the
append-only record and moves the alias in the local copy, from which requests are answered. If the process dies in
between, `settle_intents` records or drops the intent, depending on that alias. MLflow is called outside any
transaction, so that a slow MLflow does not block the database.

One intent waits at a time: else one decision could move the learner and another the champion. Whoever decides
meanwhile gets a `DecisionUnderwayError`, and so does a decision whose premise has changed: it is to replace a version
that is not there any more. The gate waits for others (`after_others`), and so do requests; a command says it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog import jobs, registry_copy, training
from catalog.context import Catalog
from catalog.decision_records import Promotion, PromotionIntent
from catalog.errors import CatalogError, ConflictError, DecisionUnderwayError, NotFoundError, ServiceDownError
from catalog.paging import Cut, cut_out
from catalog.records import JobKind, TrainingRun, now
from catalog.registry import CHALLENGER, CHAMPION, LEARNER, ModelRegistry, ModelVersion
from services import outgoing_events
from services.places import bundle_cache
from services.version_check import fault_of

log = logging.getLogger(__name__)

PROMOTED = "promoted"
KEPT = "kept"
ROLLED_BACK = "rolled back"
SET_BACK = "set back"
MOVED = "moved"
LEARNER_MOVED = "learner moved"
UNDONE = "undone"
LEARNER_UNDONE = "learner undone"

GATE: Final = "gate"
"""Who made the decisions that no person made."""
MLFLOW_PAGE: Final = "MLflow's page"
"""Who moved an alias past this server: MLflow does not tell which person."""
SERVER: Final = "server"
"""Who undid such a move."""
SERVING: Final = (PROMOTED, ROLLED_BACK, MOVED)
"""Decisions that change which version is served."""

TELLING: Final = {
    PROMOTED: CHAMPION,
    ROLLED_BACK: CHAMPION,
    MOVED: CHAMPION,
    UNDONE: CHAMPION,
    KEPT: CHALLENGER,
    SET_BACK: LEARNER,
    LEARNER_MOVED: LEARNER,
    LEARNER_UNDONE: LEARNER,
}
"""The alias that tells whether a decision took effect."""

SETTLE_AFTER: Final = timedelta(minutes=1)
"""Age from which an intent that did not take effect is dropped; no call to MLflow takes that long."""

_OTHERS_TAKE: Final = 2 * SETTLE_AFTER
_LOOK_AGAIN_S: Final = 0.2

Evidence = Mapping[str, Any]
"""`models.gate.GateEvidence` as JSON."""


def promote(
    catalog: Catalog,
    registry: ModelRegistry,
    version: int,
    reason: str,
    actor: str,
    uid: str | None = None,
    from_version: int | None = None,
) -> Promotion:
    """Make a version the champion and the learner, because a person wants it.

    If it is served already and another version is the learner, only the learner is set back to it.

    Args:
        catalog: stores the decision.
        registry: holds the aliases.
        version: the version.
        reason: why.
        actor: who decided.
        uid: of the decision; a new one by default.
        from_version: the version that it is to replace; None replaces whichever is served.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: another version is served than `from_version`; it is served already, and the learner; it must not
            be served (`services.version_check`); or another decision is being carried out (DecisionUnderwayError).
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    registry.get(version)
    aliases = registry.aliases()
    serving = aliases.get(CHAMPION)
    check_replaces(serving, from_version)
    if serving == version:
        learner = aliases.get(LEARNER, version)
        if learner == version:
            raise ConflictError(f"version {version} is served already")
        return set_back_learner(catalog, registry, learner, version, reason, actor, uid)
    _check(catalog, registry, version)
    return _move(catalog, registry, _intent(version, serving, PROMOTED, reason, actor, uid=uid), move_learner=True)


def roll_back(
    catalog: Catalog,
    registry: ModelRegistry,
    reason: str,
    actor: str,
    uid: str | None = None,
    from_version: int | None = None,
) -> Promotion:
    """Serve the version again that was served before the present champion was promoted; make it the learner, too.

    Promotions are a stack: a second roll-back goes further back, unless `from_version` says from which to go back.

    Raises:
        ConflictError: another version is served than `from_version`; no earlier champion is known; it must not be
            served any more (`services.version_check`); or another decision is underway (DecisionUnderwayError).
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    serving = registry.aliases().get(CHAMPION)
    check_replaces(serving, from_version)
    with catalog.read() as session:
        earlier = version_before(session, serving)
    _check(catalog, registry, earlier)
    return _move(catalog, registry, _intent(earlier, serving, ROLLED_BACK, reason, actor, uid=uid), move_learner=True)


def check_replaces(serving: int | None, expected: int | None) -> None:
    """Raise ConflictError if another version is served than a decision is to replace; None replaces whichever is."""
    if expected is not None and serving != expected:
        now_served = "no version" if serving is None else f"version {serving}"
        raise ConflictError(
            f"{now_served} is served now, and no longer version {expected}; look at it, then decide again"
        )


def apply_verdict(
    catalog: Catalog,
    registry: ModelRegistry,
    version: int,
    reason: str,
    evidence: Evidence | None,
    *,
    promoted: bool,
    move_learner: bool = True,
    aliases: Mapping[str, int] | None = None,
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
        aliases: what the caller has looked at; read by default.

    Raises:
        NotFoundError: there is no such version.
        DecisionUnderwayError: another decision is being carried out, or has replaced the champion of `aliases`.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    serving = (registry.aliases() if aliases is None else aliases).get(CHAMPION)
    intent = _intent(version, serving, PROMOTED if promoted else KEPT, reason, GATE, evidence)
    return _move(catalog, registry, intent, move_learner=move_learner)


def set_back_learner(
    catalog: Catalog,
    registry: ModelRegistry,
    learner: int,
    champion: int,
    reason: str,
    actor: str,
    uid: str | None = None,
) -> Promotion:
    """Make the champion the learner, so that training goes on from what is served.

    Args:
        catalog: stores the decision.
        registry: holds the aliases.
        learner: the learner until now.
        champion: the version that is served.
        reason: why.
        actor: who decided.
        uid: of the decision; a new one by default.

    Raises:
        NotFoundError: the champion was deleted in MLflow.
        DecisionUnderwayError: another decision is being carried out, or has moved the learner.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    return _move(catalog, registry, _intent(champion, learner, SET_BACK, reason, actor, uid=uid), move_learner=False)


def after_others(decide: Callable[[], object]) -> None:
    """Decide; while another decision is being carried out, wait and decide again.

    Args:
        decide: decides anew each time it is called, by what is served then.

    Raises:
        DecisionUnderwayError: others have been carried out for longer than a process that was killed can leave behind.
    """
    deadline = time.monotonic() + _OTHERS_TAKE.total_seconds()
    while True:
        try:
            decide()
        except DecisionUnderwayError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return


def undo_move(catalog: Catalog, registry: ModelRegistry, alias: str, moved_to: int | None, reason: str) -> Promotion:
    """Give an alias back the version that it has in the local copy, after somebody moved it in MLflow.

    Args:
        catalog: stores the decision, and has the copy.
        registry: holds the aliases.
        alias: `CHAMPION` or `LEARNER`.
        moved_to: the version that it was moved to; None if it was removed.
        reason: why the move is not obeyed.

    Raises:
        NotFoundError: the version before was deleted in MLflow.
        DecisionUnderwayError: another decision is being carried out, or the alias was moved again.
        ServiceDownError: MLflow does not answer; `settle_intents` resolves the intent later.
    """
    with catalog.read() as session:
        before = registry_copy.aliases_of(session).get(alias)
    verdict = UNDONE if alias == CHAMPION else LEARNER_UNDONE
    return _move(catalog, registry, _intent(before, moved_to, verdict, reason, SERVER), move_learner=False)


def record_move(session: Session, catalog: Catalog, alias: str, version: ModelVersion | None, reason: str) -> Promotion:
    """Record that an alias was moved in MLflow, and follow it in the local copy.

    Args:
        session: a writing session.
        catalog: says by which version the pool is scored.
        alias: `CHAMPION` or `LEARNER`.
        version: the version that it was moved to; None if it was removed.
        reason: what was found.
    """
    verdict = MOVED if alias == CHAMPION else LEARNER_MOVED
    before, number = registry_copy.aliases_of(session).get(alias), version.version if version else None
    return _record(session, catalog, _intent(number, before, verdict, reason, MLFLOW_PAGE), version)


def settle_intents(catalog: Catalog, registry: ModelRegistry, version: int | None = None) -> None:
    """Record the intents that took effect in MLflow, and drop those that did not.

    Args:
        catalog: holds the intents.
        registry: holds the aliases.
        version: drop the intents of this version at any age. None: only those older than ``SETTLE_AFTER``; younger
            ones may still be in progress.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    with catalog.read() as session:
        intents = session.scalars(select(PromotionIntent).order_by(PromotionIntent.id)).all()
    if not intents:
        return
    aliases = registry.aliases()
    for intent in intents:
        if aliases.get(TELLING[intent.verdict]) == intent.model_version:
            _complete(catalog, registry, intent)
        elif intent.model_version == version if version else intent.decided_at <= now() - SETTLE_AFTER:
            _set_back_learner_of(catalog, registry, intent, aliases.get(LEARNER))
            _drop(catalog, intent)


def decisions(session: Session, cut: Cut) -> Sequence[Promotion]:
    """Return a page of the decisions that took effect, newest first."""
    return session.scalars(cut_out(select(Promotion), Promotion.id, cut, newest_first=True)).all()


def champion_at(session: Session, moment: datetime | None = None) -> Promotion | None:
    """Return the decision by which the version was served that was served at a moment; None before the first.

    Its ``model_version`` is None if nothing was served. Without a moment it is the last decision, even if a clock that
    was ahead has noted it.
    """
    serving = select(Promotion).where(Promotion.verdict.in_(SERVING)).order_by(Promotion.id.desc()).limit(1)
    return session.scalar(serving if moment is None else serving.where(Promotion.completed_at <= moment))


def version_before(session: Session, serving: int | None) -> int:
    """Return the version that was served before the present champion was promoted.

    Raises:
        ConflictError: none is known.
    """
    earlier = served_before(session, serving)
    if earlier is None:
        found = "no version is served" if serving is None else f"no version was served before {serving}"
        raise ConflictError(f"{found}; promote a version by its number")
    return earlier


def served_before(session: Session, serving: int | None) -> int | None:
    """Return the version below the one that is served on the stack of promotions; None if there is none.

    An intent counts only if MLflow serves its version; else it has not taken effect.
    """
    intents = select(PromotionIntent).where(
        PromotionIntent.verdict.in_(SERVING), PromotionIntent.model_version == serving
    )
    recorded = select(Promotion).where(Promotion.verdict.in_(SERVING)).order_by(Promotion.id)
    moves: list[Promotion | PromotionIntent] = [*session.scalars(recorded), *session.scalars(intents)]
    stack: list[int] = []
    for move in moves:
        if move.previous_version is not None and move.previous_version not in stack[-1:]:
            stack.append(move.previous_version)  # served before there was a record of moves in MLflow
        if move.model_version is None:
            continue  # the alias was removed: nothing was served, until the next move
        if move.verdict == ROLLED_BACK and move.model_version in stack:
            while stack[-1] != move.model_version:
                stack.pop()
        else:
            stack.append(move.model_version)
    if serving is not None and serving in stack[-1:]:
        stack.pop()
    return stack[-1] if stack else None


def _check(catalog: Catalog, registry: ModelRegistry, number: int) -> None:
    with catalog.read() as session:
        serving = registry_copy.served(session)
    fault = fault_of(catalog, bundle_cache(catalog.settings, registry), registry.get(number), serving)
    if fault is not None:
        raise ConflictError(f"version {number} cannot be served: {fault}")


def _intent(
    version: int | None,
    previous: int | None,
    verdict: str,
    reason: str,
    actor: str,
    evidence: Evidence | None = None,
    uid: str | None = None,
) -> PromotionIntent:
    return PromotionIntent(
        uid=uid or uuid4().hex,
        model_version=version,
        previous_version=previous,
        verdict=verdict,
        reason=reason,
        actor=actor,
        evidence=None if evidence is None else dict(evidence),
        decided_at=now(),
    )


def _move(catalog: Catalog, registry: ModelRegistry, intent: PromotionIntent, *, move_learner: bool) -> Promotion:
    intent.moves_learner = move_learner
    _begin(catalog, registry, intent)
    try:
        _check_premise(registry, intent)
        if move_learner and intent.model_version is not None:
            registry.move_alias(LEARNER, intent.model_version)
        if intent.model_version is None:
            registry.remove_alias(TELLING[intent.verdict])
        else:
            registry.move_alias(TELLING[intent.verdict], intent.model_version)
    except ServiceDownError:
        raise  # the alias may have moved or not: the intent is settled later
    except CatalogError:
        _drop(catalog, intent)
        raise
    return _complete(catalog, registry, intent)


def _begin(catalog: Catalog, registry: ModelRegistry, intent: PromotionIntent) -> None:
    """Store an intent; raise DecisionUnderwayError if another one waits that is neither settled nor abandoned."""
    settle_intents(catalog, registry)
    with catalog.database.write() as session:
        registry_copy.lock(session)
        other = session.scalar(select(PromotionIntent).order_by(PromotionIntent.id).limit(1))
        if other is not None:
            raise DecisionUnderwayError(
                f"another decision is being carried out (version {other.model_version}, {other.verdict}, by "
                f"{other.actor}, since {other.decided_at:%H:%M:%S} UTC); look what is served, then try again"
            )
        session.add(intent)


def _check_premise(registry: ModelRegistry, intent: PromotionIntent) -> None:
    """Raise DecisionUnderwayError if the version that an intent replaces was replaced by another decision meanwhile."""
    alias = LEARNER if TELLING[intent.verdict] == LEARNER else CHAMPION
    found = registry.aliases().get(alias)
    if found != intent.previous_version:
        raise DecisionUnderwayError(
            f"the {alias} is version {found} since a moment ago, and was {intent.previous_version} when this was "
            "decided; look at it, then try again"
        )


def _complete(catalog: Catalog, registry: ModelRegistry, intent: PromotionIntent) -> Promotion:
    """Replace an intent by its record. Another process may have done so, or dropped the intent, meanwhile."""
    version = None if intent.model_version is None else registry.get(intent.model_version)
    with catalog.write() as session:
        # First, for PostgreSQL: it waits for another process that is completing the same intent.
        session.execute(delete(PromotionIntent).where(PromotionIntent.uid == intent.uid))
        known = session.scalar(select(Promotion).where(Promotion.uid == intent.uid))
        if known is not None:
            return known
        return _record(session, catalog, intent, version)


def _record(session: Session, catalog: Catalog, intent: PromotionIntent, version: ModelVersion | None) -> Promotion:
    """Add the record of a decision, move its aliases in the local copy, and enqueue what follows from it."""
    copied = ("uid", "model_version", "previous_version", "verdict", "reason", "evidence", "actor", "decided_at")
    recorded = Promotion(**{name: getattr(intent, name) for name in copied}, completed_at=now())
    session.add(recorded)
    session.flush()
    _log(session, recorded)
    moved = {TELLING[intent.verdict]: intent.model_version}
    if intent.moves_learner:
        moved[LEARNER] = intent.model_version
    if version is not None:
        registry_copy.store(session, [version])
    registry_copy.set_aliases(session, moved)
    if intent.model_version is None:
        return recorded
    if intent.verdict in SERVING or catalog.settings.scoring_version == LEARNER:
        jobs.enqueue(session, JobKind.SCORE_POOL)
    if intent.verdict in SERVING and intent.previous_version not in {None, intent.model_version}:
        jobs.enqueue(session, JobKind.COMPARE_SERVED, str(recorded.id), decision_id=recorded.id)
    if intent.verdict in SERVING and version is not None:
        outgoing_events.announce_promotion(session, recorded, version)
    return recorded


def _log(session: Session, decision: Promotion) -> None:
    """Log a decision, with the labels that the version's training was the first to learn."""
    number = decision.model_version
    run = session.scalar(select(TrainingRun).where(TrainingRun.model_version == number)) if number else None
    fields = {"version": number, "decision": decision.id, **(training.traced(session, run) if run else {})}
    log.info("version %s: %s by %s: %s", number, decision.verdict, decision.actor, decision.reason, extra=fields)


def _set_back_learner_of(
    catalog: Catalog, registry: ModelRegistry, intent: PromotionIntent, learner: int | None
) -> None:
    """Undo the half of an intent that took effect: it would look as if somebody had moved the learner in MLflow."""
    with catalog.read() as session:
        before = registry_copy.aliases_of(session).get(LEARNER)
    if not intent.moves_learner or learner != intent.model_version or before == learner:
        return
    if before is None:
        registry.remove_alias(LEARNER)
        return
    try:
        registry.move_alias(LEARNER, before)
    except NotFoundError:
        log.warning("the learner stays version %s: version %d, which it was before, was deleted", learner, before)


def _drop(catalog: Catalog, intent: PromotionIntent) -> None:
    with catalog.database.write() as session:
        session.execute(delete(PromotionIntent).where(PromotionIntent.uid == intent.uid))
