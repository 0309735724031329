"""The settings in words: unit, allowed values, default, and the file that ``glacier-al init`` writes."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from catalog.settings_sources import NULL, variable

_UNITS: Final = {"px": "pixels", "s": "seconds", "bytes": "bytes", "share": "fraction"}  # by the end of the name
_WIDTH: Final = 100
_KINDS: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "path": "a path",
    "array": "a list",
    "object": "a table",
    "null": json.dumps(NULL),
}
_PASSWORD: Final = re.compile(r"(://[^:/@]*:).*@")
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key|signature)[^=&]*=)[^&]*", re.IGNORECASE)

_HEADER: Final = """\
Settings of the system whose data is in this folder.

Remove the mark before a setting to change it, and restart `glacier-al up`. An environment variable of the name
GLACIER_AL_<NAME>, e.g. GLACIER_AL_MC_PASSES, overrides this file. `glacier-al config` shows what is in force, and why.

The format is TOML: texts are written in quotation marks, lists in brackets, and the word for "not set" is "null", in
quotation marks. A relative path starts at the folder of this file."""


def unit(name: str) -> str | None:
    """Return the unit of a setting, which its name ends with; None if it has none."""
    return _UNITS.get(name.rpartition("_")[2])


def allowed(settings: type[BaseSettings], name: str) -> str:
    """Return the type and range of a setting in words, e.g. ``a whole number, at least 2``."""
    schema = _schema(settings)
    return _words(schema["properties"][name], schema.get("$defs", {}))


@cache
def _schema(settings: type[BaseSettings]) -> dict[str, Any]:
    return settings.model_json_schema()  # takes some milliseconds


def default(settings: type[BaseSettings], name: str, var_dir: Path) -> Any:
    """Return the default of a setting for a data folder."""
    field = settings.model_fields[name]
    return field.get_default(call_default_factory=True, validated_data={"var_dir": var_dir})


def groups(settings: type[BaseSettings]) -> dict[str, list[str]]:
    """Return the names of the settings by the title of their group."""
    found: dict[str, list[str]] = {}
    title = ""
    for name, field in settings.model_fields.items():
        if isinstance(field.json_schema_extra, dict):
            title = str(field.json_schema_extra.get("group", title))
        found.setdefault(title, []).append(name)
    return found


def without_secrets(value: Any) -> Any:
    """Return a value with the passwords in its addresses masked."""
    if isinstance(value, str) and "://" in value:
        return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", value))
    return value


def toml(value: Any) -> str:
    """Write a value as TOML, on one line."""
    value = to_jsonable_python(value)
    if value is None:
        return json.dumps(NULL)
    if isinstance(value, Mapping):
        entries = (f"{json.dumps(str(key))} = {toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


def file_text(settings: type[BaseSettings], var_dir: Path) -> str:
    """Return the text of a file of settings with every setting commented out."""
    blocks = [_comment(_HEADER)]
    for title, names in groups(settings).items():
        blocks.append(f"# ---- {title} {'-' * (_WIDTH - len(title) - 8)}")
        blocks.extend(_entry(settings, name, var_dir) for name in names if name != "var_dir")
    return "\n\n".join(blocks) + "\n"


def _entry(settings: type[BaseSettings], name: str, var_dir: Path) -> str:
    value = toml(default(settings, name, var_dir))
    facts = {"Unit": unit(name), "Allowed": allowed(settings, name), "Default": value}
    described = settings.model_fields[name].description or variable(name)
    about = " ".join(f"{fact}: {text}." for fact, text in facts.items() if text)
    return f"{_comment(described)}\n{_comment(about)}\n#{name} = {value}"


def _comment(text: str) -> str:
    paragraphs = (textwrap.wrap(part, _WIDTH - 2, break_long_words=False) for part in text.split("\n\n"))
    return "\n#\n".join("\n".join(f"# {line}" for line in lines) for lines in paragraphs)


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Put a JSON schema into words."""
    if "$ref" in schema:
        return _words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return ", or ".join(_words(choice, definitions) for choice in schema["anyOf"])
    if "enum" in schema:
        *others, last = map(json.dumps, schema["enum"])
        return f"{', '.join(others)} or {last}" if others else last
    kind = _KINDS.get(schema.get("format", schema.get("type", "")), "anything")
    of_what = " of texts" if schema.get("items") == {"type": "string"} else ""
    return ", ".join([kind + of_what, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    named = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    limits = [f"{words} {schema[key]:g}" for key, words in named.items() if key in schema]
    lengths = [str(schema[key]) for key in ("minLength", "maxLength") if key in schema]
    return [
        *([" and ".join(limits)] if limits else []),
        *([f"{' to '.join(lengths)} characters"] if lengths else []),
    ]
