"""What is wrong with the settings, put into messages that users can act on."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from catalog.settings_guide import allowed, without_secrets
from catalog.settings_sources import Given, SettingsError, nearest, read_given

_SHOWN_CHARACTERS = 100


def faults(settings: type[BaseSettings], error: ValidationError, values: Mapping[str, Any]) -> SettingsError:
    """Return an error with all faults, each with its place: an environment variable, or a line of the file.

    Args:
        settings: The class of the settings.
        error: What pydantic says.
        values: The values that were refused.
    """
    fields = settings.model_fields
    known = (
        values if fields.keys() <= values.keys() else {name: values[name] for name in ("var_dir",) if name in values}
    )
    given = read_given(fields, known)
    found = [
        (str(item["loc"][0]), _fault(settings, item, given, values))
        for item in error.errors(include_url=False)
        if item["type"] != "default_factory_not_called"  # it follows from a fault that is named
    ]
    title = "the settings have a fault:" if len(found) == 1 else f"the settings have {len(found)} faults:"
    lines = [title, *(text for _, text in found)]
    return SettingsError("\n  ".join(lines) + "\ndocs/settings.md lists all settings.", dict(reversed(found)))


def _fault(
    settings: type[BaseSettings], item: ErrorDetails, given: Mapping[str, Given], values: Mapping[str, Any]
) -> str:
    name, *inner = map(str, item["loc"])
    source = given.get(name)
    if source is not None and source.fault:
        return source.fault
    if name not in settings.model_fields:
        meant = nearest(name, settings.model_fields)
        return f"{name} names no setting" + (f"; did you mean {meant}?" if meant else "")
    # Without a place if the value is an argument's, which overrides what is given elsewhere.
    place = f"{source.place}: " if source is not None and source.value == values.get(name) else ""
    found = f"{place}{'.'.join([name, *inner])} is {_shown(settings, name, item['input'])}"
    if inner:
        return f"{found}: {item['msg'][0].lower()}{item['msg'][1:]}"
    if item["type"] == "value_error":
        return f"{found}, {_said(item)}"
    is_json = item["type"] in ("list_type", "dict_type", "model_type")
    form = ", written as JSON" if is_json and source is not None and source.origin == "environment" else ""
    return f"{found}, expected {allowed(settings, name)}{form}"


def _said(item: ErrorDetails) -> str:
    """Return what one of our own checks says."""
    return str(item["ctx"]["error"])


def _shown(settings: type[BaseSettings], name: str, value: Any) -> str:
    if not settings.model_fields[name].repr and "://" not in str(value):
        return "not an address"  # and may be a password, put in the wrong place
    text = json.dumps(without_secrets(value), ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."
