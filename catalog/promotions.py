"""Which version is served: moving the champion, with the reason and the actor kept."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.errors import ConflictError
from catalog.records import Promotion
from catalog.registry import CHALLENGER, CHAMPION, ModelRegistry


def promote(session: Session, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Let a version be served.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    return _move(session, registry, version, "promoted", reason, actor)


def roll_back(session: Session, registry: ModelRegistry, reason: str, actor: str) -> Promotion:
    """Let the version be served again that was before the present champion.

    Raises:
        ConflictError: no earlier champion is known.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    serving = registry.aliases().get(CHAMPION)
    last = session.scalar(
        select(Promotion)
        .where(Promotion.model_version == serving, Promotion.verdict != "kept")
        .order_by(Promotion.id.desc())
        .limit(1)
    )
    if serving is None or last is None or last.previous_version is None:
        raise ConflictError(f"found no version that was served before {serving}; promote a version by its number")
    return _move(session, registry, last.previous_version, "rolled back", reason, actor)


def keep(session: Session, registry: ModelRegistry, version: int, reason: str, actor: str) -> Promotion:
    """Note that a version does not replace the champion; the alias ``challenger`` names it.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer; nothing has changed.
    """
    registry.move_alias(CHALLENGER, version)
    return _note(session, version, registry.aliases().get(CHAMPION), "kept", reason, actor)


def history(session: Session) -> list[Promotion]:
    """Return every decision, newest first."""
    return list(session.scalars(select(Promotion).order_by(Promotion.id.desc())))


def _move(session: Session, registry: ModelRegistry, version: int, verdict: str, reason: str, actor: str) -> Promotion:
    previous = registry.aliases().get(CHAMPION)
    registry.move_alias(CHAMPION, version)
    return _note(session, version, previous, verdict, reason, actor)


def _note(session: Session, version: int, previous: int | None, verdict: str, reason: str, actor: str) -> Promotion:
    noted = Promotion(model_version=version, previous_version=previous, verdict=verdict, reason=reason, actor=actor)
    session.add(noted)
    return noted
