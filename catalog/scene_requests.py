"""Requests to register, replace or describe scenes whose files lie on another machine: their table and their end."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, Session, mapped_column

from catalog.errors import NotFoundError
from catalog.records import Base, now
from catalog.told_texts import Told


class RemoteSceneRequest(Base):
    """A request about a scene that only a job can read in time (`services.remote_scenes`).

    It waits until it has ended: with a summary, or with the reason why there is none.
    """

    __tablename__ = "remote_scene_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    request: Mapped[dict[str, Any]]  # services.scene_request.ReplacementRequest as JSON
    replaces: Mapped[int | None]  # id of the scene to replace; None: a new scene
    job_id: Mapped[str] = mapped_column(String(32))
    requested_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    summary: Mapped[dict[str, Any] | None]  # services.scene_summary.SceneSummary as JSON
    outcome: Mapped[dict[str, Any] | None]  # services.remote_scenes.Outcome as JSON; None: nothing was registered
    fault: Mapped[Told | None]  # why it was refused


def find(session: Session, number: int) -> RemoteSceneRequest:
    """Return a request.

    Raises:
        NotFoundError: There is none with this number.
    """
    found = session.get(RemoteSceneRequest, number)
    if found is None:
        raise NotFoundError(f"there is no request {number} for a scene at an address")
    return found


def waiting(session: Session, number: int) -> RemoteSceneRequest | None:
    """Lock a request and return it; None if it has ended, for instance by another attempt of its job."""
    found = session.get_one(RemoteSceneRequest, number, with_for_update=True, populate_existing=True)
    return found if found.ended_at is None else None


def refuse(session: Session, number: int, fault: str) -> None:
    """End a request with the reason why nothing came of it, unless it has ended."""
    found = waiting(session, number)
    if found is not None:
        found.fault, found.ended_at = fault, now()


def reopen(session: Session, number: int) -> None:
    """Let a request whose job is retried wait again."""
    found = find(session, number)
    if found.summary is None:
        found.fault = found.ended_at = None
