"""Schemas of requests and answers about settings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.schemas import NewestPage, serialize_row
from catalog import setting_changes
from catalog.context import Catalog
from catalog.setting_changes import SettingChange
from catalog.settings import Settings
from catalog.settings_guide import form, groups, heading, is_run_time
from catalog.settings_in_force import Source, described, in_force, short_place
from services.request_types import MAX_INTEGER, Body

SettingName = Annotated[str, Field(min_length=1, max_length=64)]
_Text = Annotated[str, Field(max_length=1000)]
_Whole = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
SettingValue = bool | _Whole | _Number | _Text | list[_Text] | None


class SettingsChange(Body):
    """Settings to change: all of them or none."""

    settings: dict[SettingName, SettingValue] = Field(
        min_length=1, max_length=100, description="new values by name; null: back to the default"
    )


class ChangePage(NewestPage):
    """A page of the record of changes, newest first."""

    name: SettingName | None = Field(None, description="only changes of this setting")


class SettingChangeAnswer(BaseModel):
    """A change of a setting while the system ran."""

    id: int
    name: str
    value: Any = Field(description="null: back to the default")
    changed_by: str
    changed_at: datetime


class SettingAnswer(BaseModel):
    """A setting that is in force."""

    name: str
    heading: str = Field(description="its name as people read it")
    group: str
    value: Any
    default: Any
    source: Source = Field(description="where the value comes from; page: it was changed while the system ran")
    place: str = Field(description="the variable, the line of the file, or the setting that gives the value")
    meaning: str
    unit: str | None
    allowed: str = Field(description="type and range in words")
    kind: Literal["boolean", "number", "text", "list", "table"]
    choices: list[str] = Field(description="the texts that are allowed; empty if others are")
    run_time: bool = Field(description="whether it may change while the system runs")
    fixed: bool = Field(description="whether it is given in the file or the environment, and can only be changed there")
    changed: SettingChangeAnswer | None = Field(description="its last change; null if it was never changed")


def serialize_change(change: SettingChange) -> SettingChangeAnswer:
    """Describe a change."""
    return serialize_row(SettingChangeAnswer, change)


def serialize_settings(session: Session, catalog: Catalog, *, only_run_time: bool) -> list[SettingAnswer]:
    """Describe the settings in force, by group; passwords in addresses are masked.

    Args:
        session: A reading session.
        catalog: The catalog.
        only_run_time: Whether to leave out those that need a restart, which say much of the machine.
    """
    changes = setting_changes.last_changes(session)
    group_of = {name: title for title, names in groups(Settings).items() for name in names}
    shown = [name for name in Settings.model_fields if not only_run_time or is_run_time(Settings, name)]
    found = in_force(catalog.configured, catalog.settings, shown)
    return [
        _serialize(
            name,
            described(catalog.settings, name, item),
            group=group_of[name],
            fixed=name in catalog.configured.model_fields_set,
            change=changes.get(name),
        )
        for name, item in found.items()
    ]


def _serialize(
    name: str, facts: Mapping[str, Any], *, group: str, fixed: bool, change: SettingChange | None
) -> SettingAnswer:
    takes = form(Settings, name)
    members = {key: facts[key] for key in ("value", "default", "source", "meaning", "unit", "allowed", "run_time")}
    return SettingAnswer(
        name=name,
        heading=heading(name),
        group=group,
        **members,
        place=short_place(facts["place"]),
        kind=takes.kind,
        choices=list(takes.choices),
        fixed=fixed,
        changed=serialize_change(change) if change is not None else None,
    )
