"""What cannot be used at present and is set aside by name, while the rest of the loop goes on without it.

A row stands until what it names is back. Labels and scenes that are set aside are left out of training, scoring,
proposals and judgement; files are made again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Index, Select, String, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from catalog.paging import Cut, cut_out
from catalog.records import Base, now
from catalog.told_texts import Told

NEVER_OPENED: Final = ""
"""In place of a digest of its files (`SetAside.seen`), of a scene that could not be opened."""
RECHECK_AFTER: Final = timedelta(minutes=1)
"""How long after a check it is looked again whether something is back."""


class Kind(StrEnum):
    """What is set aside."""

    LABEL = "label"  # its mask is damaged and cannot be drawn again
    SCENE = "scene"  # one of its files is missing, damaged or another one
    FILE = "file"  # a file of the raster store that is damaged or missing
    VERSION = "version"  # a model version whose files are not those that were registered


class SetAside(Base):
    """A label, scene, file or model version that cannot be used, and why."""

    __tablename__ = "set_aside"
    __table_args__ = (
        Index(
            "ix_set_aside_one_standing",
            "kind",
            "name",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # a value of `Kind`
    name: Mapped[str] = mapped_column(String(512))  # "label 17", the name of a scene, the key of a file, "version 3"
    number: Mapped[int | None]  # the id of the label or scene, the number of the version; None for a file
    reason: Mapped[Told]  # what was found, what was expected
    # Of a scene: a digest of its files when it was set aside (`services.unusable_scenes.look_at`), or `NEVER_OPENED`.
    seen: Mapped[str | None]
    since: Mapped[datetime] = mapped_column(default=now)
    checked_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[Told | None]  # why it ended


def set_aside(
    session: Session, kind: Kind, name: str, reason: str, number: int | None = None, seen: str | None = None
) -> bool:
    """Set something aside, unless it is already; return whether it is new.

    Args:
        session: a writing session.
        kind: what it is.
        name: what people call it.
        reason: what was found, and what was expected.
        number: the id of the label or scene, the number of the version.
        seen: a digest of the files of a scene as they are now, or `NEVER_OPENED`. It replaces an earlier digest, but
            `NEVER_OPENED` does not: a scene whose pixels are damaged is not whole because it can be opened again.
    """
    known = find(session, kind, name)
    if known is not None:
        known.checked_at, known.reason, known.seen = now(), reason, seen or known.seen
        return False
    session.add(SetAside(kind=kind.value, name=name, number=number, reason=reason, seen=seen))
    session.flush()
    return True


def find(session: Session, kind: Kind, name: str) -> SetAside | None:
    """Return the standing row about something; None if it is not set aside."""
    return session.scalar(_standing().where(SetAside.kind == kind.value, SetAside.name == name))


def end(row: SetAside, outcome: str) -> None:
    """Note that something may be used again, and why."""
    row.ended_at, row.outcome = now(), outcome


def standing(session: Session, *kinds: Kind, cut: Cut | None = None) -> Sequence[SetAside]:
    """Return what is set aside, oldest first; of some kinds only, if any are given; all, or a page by the ids."""
    statement = _standing()
    if kinds:
        statement = statement.where(SetAside.kind.in_([kind.value for kind in kinds]))
    return session.scalars(cut_out(statement, SetAside.id, cut, newest_first=False)).all()


def numbers(kind: Kind) -> Select[int | None]:
    """Return the query for the ids of the labels, or scenes, that are set aside."""
    return select(SetAside.number).where(SetAside.kind == kind.value, SetAside.ended_at.is_(None))


def is_due(session: Session) -> bool:
    """Return whether it is time to look whether something that is set aside is back."""
    due = _standing().where(SetAside.checked_at < now() - RECHECK_AFTER)
    return session.scalar(due.limit(1)) is not None


def _standing() -> Select[SetAside]:
    return select(SetAside).where(SetAside.ended_at.is_(None))
