"""The settings in force as people see them: the value of each, where it comes from, and what it means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from catalog.settings import Settings
from catalog.settings_guide import allowed, default, is_run_time, unit, without_secrets
from catalog.settings_sources import Given, read_given, variable

Source = Literal["default", "derived", "page", "file", "environment", "architecture"]


@dataclass(frozen=True)
class InForce:
    """The value of a setting, and where it comes from.

    Attributes:
        value: Its value.
        source: Where it comes from; "page": it was changed while the system ran.
        place: The setting, line, variable or architecture that gives the value; empty for a default and the page.
    """

    value: Any
    source: Source
    place: str = ""


def in_force(
    configured: Settings,
    settings: Settings,
    names: Iterable[str] = tuple(Settings.model_fields),
    decided: Mapping[str, Any] | None = None,
) -> dict[str, InForce]:
    """Return the values of settings, and where they come from.

    Args:
        configured: The settings that the process started with.
        settings: Those in force (`catalog.setting_changes.applied`).
        names: Names of settings.
        decided: Values that the architecture gives to unset ones.
    """
    given = places(configured)
    changed = settings.model_fields_set - configured.model_fields_set
    found = {}
    for name in names:
        value, extra = getattr(settings, name), Settings.model_fields[name].json_schema_extra
        origin = str(extra.get("derived_from", "")) if isinstance(extra, dict) else ""
        if decided is not None and name in decided:
            item = InForce(decided[name], "architecture", settings.architecture)
        elif origin and (name not in given or not value):
            item = InForce(value or getattr(settings, origin), "derived", origin)
        elif name in given:
            item = InForce(value, given[name].origin, given[name].place)
        else:
            item = InForce(value, "page" if name in changed else "default")
        found[name] = item
    return found


def places(configured: Settings) -> dict[str, Given]:
    """Return what environment and file say of the settings that a process started with."""
    return read_given(Settings.model_fields, {"var_dir": configured.var_dir})


def short_place(place: str) -> str:
    """Return the place of a setting without the folder of the file, which is no concern of readers."""
    return Path(place).name


def described(settings: Settings, name: str, item: InForce) -> dict[str, Any]:
    """Return all facts about a setting as JSON values, without passwords."""
    values = {"value": item.value, "default": default(Settings, name, settings.var_dir)}
    return {
        **{key: without_secrets(to_jsonable_python(value)) for key, value in values.items()},
        "source": item.source,
        "place": item.place,
        "meaning": Settings.model_fields[name].description,
        "unit": unit(name),
        "allowed": allowed(Settings, name),
        "run_time": is_run_time(Settings, name),
        "variable": variable(name),
    }
