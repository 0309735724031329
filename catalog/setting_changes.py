"""Settings that people change while the system runs: the record of the changes, and the settings that follow from it.

The environment and the file come first: what they say stays, whatever the record says. The database itself refuses to
change or delete a row (triggers, see the migration 0023).
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from catalog.paging import Cut, cut_out
from catalog.records import Base, now
from catalog.settings import Settings
from catalog.settings_guide import is_run_time
from catalog.settings_sources import SettingsError

log = logging.getLogger(__name__)


class SettingChange(Base):
    """A change of a setting. Append-only."""

    __tablename__ = "setting_changes"
    __table_args__ = (Index("ix_setting_changes_name", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    value: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))  # None: back to the default
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(default=now)


def newest_id(session: Session) -> int | None:
    """Return the id of the last change; None if nothing was ever changed."""
    return session.scalar(select(func.max(SettingChange.id)))


def last_changes(session: Session) -> dict[str, SettingChange]:
    """Return the last change of each setting that was ever changed, by its name."""
    newest = select(func.max(SettingChange.id)).group_by(SettingChange.name)
    found = session.scalars(select(SettingChange).where(SettingChange.id.in_(newest)))
    return {change.name: change for change in found}


def standing(session: Session) -> dict[str, Any]:
    """Return the values that settings were given, by name, without those that went back to their defaults."""
    return {name: change.value for name, change in last_changes(session).items() if change.value is not None}


def history(session: Session, cut: Cut, name: str | None = None) -> Sequence[SettingChange]:
    """Return a page of the changes, newest first: of all settings, or of one."""
    statement = select(SettingChange)
    if name is not None:
        statement = statement.where(SettingChange.name == name)
    return session.scalars(cut_out(statement, SettingChange.id, cut, newest_first=True)).all()


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return settings with other values.

    Raises:
        SettingsError: these settings would be refused at the start of a process, too.
    """
    checked = type(settings)(**{**settings.model_dump(), **values})
    return settings.model_copy(update={name: getattr(checked, name) for name in values})


def applied(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return the settings in force: those that a process started with, changed where nobody had given a value.

    A change that an earlier release or an earlier file allowed may not fit any more. It is left out, with a warning.

    Args:
        settings: The settings that the process started with.
        changes: Values by name (`standing`).
    """
    free = {
        name: value
        for name, value in changes.items()
        if is_run_time(type(settings), name) and name not in settings.model_fields_set
    }
    try:
        return with_values(settings, free)
    except SettingsError:
        found = settings
    for name, value in free.items():
        try:
            found = with_values(found, {name: value})
        except SettingsError as error:
            log.warning("a change of the setting %s is not used: %s", name, error)
    return found
