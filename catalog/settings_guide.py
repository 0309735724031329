"""The settings in words: unit, allowed values, default, and the file that ``glacier-al init`` writes."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from catalog.settings_sources import NULL, variable

_UNITS: Final = {
    "px": "pixels",
    "m": "metres",
    "s": "seconds",
    "bytes": "bytes",
    "share": "fraction",
}  # by the end of the name
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
_FORMS: Final[dict[str, Literal["boolean", "number", "table"]]] = {
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "object": "table",
}
_LEFT_OUT_OF_HEADINGS: Final = ("px", "m", "s", "bytes")
_SPELT_OUT: Final = {"min": "least", "mc": "Monte Carlo", "ema": "EMA", "mlflow": "MLflow"}
_PASSWORD: Final = re.compile(r"(://[^:/@]*:).*@")
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key|signature)[^=&]*=)[^&]*", re.IGNORECASE)

_HEADER: Final = """\
Settings of the system whose data is in this folder.

Remove the mark before a setting to change it, and restart `glacier-al up`. An environment variable of the name
GLACIER_AL_<NAME>, e.g. GLACIER_AL_MC_PASSES, overrides this file. `glacier-al config` shows what is in force, and why.

What the page /settings may change while the system runs is fixed by a value in this file.

The format is TOML: texts are written in quotation marks, lists in brackets, and the word for "not set" is "null", in
quotation marks. A relative path starts at the folder of this file."""


def unit(name: str) -> str | None:
    """Return the unit of a setting, which its name ends with; None if it has none."""
    return _UNITS.get(_last(name))


def allowed(settings: type[BaseSettings], name: str) -> str:
    """Return the type and range of a setting in words, e.g. ``a whole number, at least 2``."""
    schema = _schema(settings)
    return _words(schema["properties"][name], schema.get("$defs", {}))


def heading(name: str) -> str:
    """Return the name of a setting as people read it: words, without the unit."""
    named = name.rpartition("_")[0] if _last(name) in _LEFT_OUT_OF_HEADINGS else name
    words = " ".join(_SPELT_OUT.get(word, word) for word in named.split("_")).replace("fine tune", "fine-tune")
    return words[0].upper() + words[1:]


def is_run_time(settings: type[BaseSettings], name: str) -> bool:
    """Return whether there is a setting of this name that may be changed while the system runs."""
    field = settings.model_fields.get(name)
    return field is not None and isinstance(extra := field.json_schema_extra, dict) and "run_time" in extra


@dataclass(frozen=True)
class Form:
    """What a field for a setting takes.

    Attributes:
        kind: What one value is.
        choices: The texts that are allowed; empty if others are.
    """

    kind: Literal["boolean", "number", "text", "list", "table"]
    choices: tuple[str, ...] = ()


def form(settings: type[BaseSettings], name: str) -> Form:
    """Return what a field for a setting takes; that it may be empty is told by its default, which then is None."""
    schema = _schema(settings)
    return _form(schema["properties"][name], schema.get("$defs", {}))


def _form(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Form:
    if "$ref" in schema:
        return _form(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return _form(next(choice for choice in schema["anyOf"] if choice.get("type") != "null"), definitions)
    if "enum" in schema or "const" in schema:
        return Form("text", tuple(schema.get("enum", [schema.get("const")])))
    if schema["type"] == "array":
        return Form("list", _form(schema["items"], definitions).choices)
    return Form(_FORMS.get(schema["type"], "text"))


def _last(name: str) -> str:
    return name.rpartition("_")[2]


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
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = _KINDS.get(schema.get("format", schema.get("type", "")), "anything")
    items = schema.get("items", {})
    of_what = f" of {_words(items, definitions)}" if "enum" in items else ""
    of_what = " of texts" if items == {"type": "string"} else of_what
    return ", ".join([kind + of_what, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    named = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    limits = [f"{words} {_figure(schema[key])}" for key, words in named.items() if key in schema]
    lengths = [str(schema[key]) for key in ("minLength", "maxLength") if key in schema]
    return [
        *([" and ".join(limits)] if limits else []),
        *([f"{' to '.join(lengths)} characters"] if lengths else []),
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
