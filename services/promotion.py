"""Which version is served: moving the champion, with the reason and the actor kept.

MLflow is asked first, outside any transaction of ours: while it hesitates, nobody waits for the database.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.errors import ConflictError
from catalog.records import Promotion
from catalog.registry import CHALLENGER, CHAMPION, ModelRegistry

PROMOTED = "promoted"
KEPT = "kept"
ROLLED_BACK = "rolled back"


def promote(registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Let a version be served.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it is served already.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    if registry.aliases().get(CHAMPION) == version:
        raise ConflictError(f"version {version} is served already")
    return _move(registry, version, PROMOTED, reason, actor)


def roll_back(session: Session, registry: ModelRegistry, reason: str, actor: str) -> Promotion:
    """Let the version be served again that was before the present champion was promoted.

    Raises:
        ConflictError: no earlier champion is known.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    serving = registry.aliases().get(CHAMPION)
    # Roll-backs do not count: a second one goes further back instead of undoing the first.
    promotion = session.scalar(
        select(Promotion)
        .where(Promotion.model_version == serving, Promotion.verdict == PROMOTED)
        .order_by(Promotion.id.desc())
        .limit(1)
    )
    if promotion is None or promotion.previous_version is None:
        raise ConflictError(f"found no version that was served before {serving}; promote a version by its number")
    return _move(registry, promotion.previous_version, ROLLED_BACK, reason, actor)


def keep(registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Note that a version does not replace the champion; the alias ``challenger`` names it.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    registry.move_alias(CHALLENGER, version)
    return _note(version, registry.aliases().get(CHAMPION), KEPT, reason, actor)


def _move(registry: ModelRegistry, version: int, verdict: str, reason: str, actor: str) -> Promotion:
    previous = registry.aliases().get(CHAMPION)
    registry.move_alias(CHAMPION, version)
    return _note(version, previous, verdict, reason, actor)


def _note(version: int, previous: int | None, verdict: str, reason: str, actor: str) -> Promotion:
    return Promotion(model_version=version, previous_version=previous, verdict=verdict, reason=reason, actor=actor)
