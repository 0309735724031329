"""Where settings are read from: the environment, else the file ``config.toml`` in the data folder.

Nothing is judged here but names: a value of the wrong type or range is left to pydantic, and what names no setting is
passed on as a fault, so that one message lists all that is wrong.
"""

import json
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

log = logging.getLogger(__name__)

PREFIX: Final = "GLACIER_AL_"
NULL: Final = "null"  # how None is written in the environment and in the file: TOML has no word for it

# Settings that were renamed: old name -> new name. The old one is accepted, with a warning.
RENAMED: Final = {"mc_contested_share": "mc_shortlist_share"}

# Settings that no longer exist: name -> what to do instead.
REMOVED: Final = {
    "gate_min_gain": "the gate now asks for confidence: set gate_confidence and gate_margin",
    "gate_max_class_drop": "set gate_class_margin",
}

# User and password of an MLflow of your own; a password is no setting, which pages and commands show.
MLFLOW_LOG_IN: Final = ("GLACIER_AL_MLFLOW_USERNAME", "GLACIER_AL_MLFLOW_PASSWORD")
# Given to the processes that a process of ours starts (`Settings.as_environment`): their settings stand in the
# environment, and this says as JSON which of them come from the file, and from where in it.
HANDED_ON: Final = "GLACIER_AL_HANDED_ON"
# Variables with our prefix that name no setting. The first is read at set-up and start (see labeling/server.py), the
# second by commands that ask another system.
OUTSIDE_SETTINGS: Final = frozenset({"GLACIER_AL_LABEL_STUDIO", "GLACIER_AL_TOKEN", *MLFLOW_LOG_IN, HANDED_ON})

# Marks a text that may be a path: in the file, a relative one starts at the file's folder.
MAY_BE_PATH: Final = object()

_WORDS = (str, int, float, Path, NoneType)  # what one word in the environment can say; everything else is JSON there


class SettingsError(Exception):
    """The settings cannot be used; the message names every fault and its place.

    Not a `ValueError`, which pydantic would take for the fault of one field.

    Attributes:
        faults: What is wrong with each setting, by its name, as far as the faults are those of one setting.
    """

    def __init__(self, message: str, faults: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.faults = dict(faults or {})


@dataclass(frozen=True)
class Given:
    """A setting as it was written.

    Attributes:
        value: Its value, not yet validated.
        place: The environment variable, or the file and line, where it was found.
        origin: Which of the two.
        name: The name as it was written, in lower case and without prefix.
        fault: What is wrong with the name; empty if it names a setting.
    """

    value: Any
    place: str
    origin: Literal["environment", "file"]
    name: str
    fault: str = ""


def absolute(path: Path) -> Path:
    """Return a path that means the same in every process: processes may have other working folders.

    Raises:
        ValueError: it begins with ``~name``, and there is no such user.
    """
    try:
        return path.expanduser().resolve()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def is_url(text: str) -> bool:
    """Tell URLs from paths."""
    return "://" in text


def config_file(var_dir: Path) -> Path:
    """Return the path of the file of settings."""
    return var_dir / "config.toml"


def data_folder(fields: Mapping[str, FieldInfo]) -> Path:
    """Return the data folder that the environment names, else the usual one, without reading other settings.

    Raises:
        SettingsError: the environment names none, or the home of nobody.
    """
    given = _environment(fields).get("var_dir")
    if given is None:
        return absolute(fields["var_dir"].default)
    if not given.value:
        raise SettingsError(f"{given.place} is empty; name a folder, or unset it")
    try:
        return absolute(Path(given.value))
    except ValueError as error:
        raise SettingsError(f"{given.place}: {error}") from None


def read_given(fields: Mapping[str, FieldInfo], arguments: Mapping[str, Any]) -> dict[str, Given]:
    """Return what environment and file say, by the name of the setting; the environment overrides the file.

    A fault is returned under a name that no setting has.

    Args:
        fields: The settings that there are.
        arguments: Values that override both.

    Raises:
        SettingsError: the file cannot be read, or is not TOML.
    """
    written = _environment(fields)
    handed_on = os.environ.get(HANDED_ON)
    if handed_on is not None or fields.keys() <= arguments.keys():
        # As to the processes that `up` starts. Neither an edit of the file nor an old name in the environment that `up`
        # was started in can change them.
        places: dict[str, str] = json.loads(handed_on or "{}")
        current = {name: item for name, item in written.items() if name not in RENAMED}
        from_file = {
            name: replace(current[name], place=place, origin="file")
            for name, place in places.items()
            if name in current
        }
        return current | from_file
    folder = absolute(Path(arguments["var_dir"])) if "var_dir" in arguments else data_folder(fields)
    return _under_new_names(_file(config_file(folder), fields) | written)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name of a setting that somebody may have meant; None if none comes near."""
    found = get_close_matches(name.lower().removeprefix(PREFIX.lower()), names, n=1)
    return found[0] if found else None


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def _environment(fields: Mapping[str, FieldInfo]) -> dict[str, Given]:
    found = {}
    for place, text in sorted(os.environ.items()):
        if not place.upper().startswith(PREFIX) or place.upper() in OUTSIDE_SETTINGS:
            continue
        name = place.lower().removeprefix(PREFIX.lower())
        field = fields.get(RENAMED.get(name, name))
        if field is None:
            meant = nearest(name, fields)
            hint = f"; did you mean {variable(meant)}?" if meant else ""
            fault = _removed(place, name) or f"{place} names no setting{hint}"
            found[place] = Given(text, place, "environment", name, fault)
        else:
            found[name] = Given(_from_text(text, _kinds(field.annotation)), place, "environment", name)
    return found


def _removed(place: str, name: str) -> str | None:
    """Return the fault of a setting that an earlier release had; None if there was none of this name."""
    return f"{place} is no longer a setting; {REMOVED[name]}" if name in REMOVED else None


def _from_text(text: str, kinds: set[type]) -> Any:
    """Read the value of an environment variable."""
    if text == NULL and NoneType in kinds:
        return None
    if not all(issubclass(kind, _WORDS) for kind in kinds):
        with suppress(ValueError):  # a text that is not JSON is refused by pydantic as being no list or table
            return json.loads(text)
    return text


def _file(path: Path, fields: Mapping[str, FieldInfo]) -> dict[str, Given]:
    text = _text(path)
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f'{path} is not TOML: {error}. Texts are written in quotation marks, e.g. device = "cpu"'
        ) from None
    found = {}
    for name, value in entries.items():
        place = f"{path}, line {_line(text, name)}"
        field = fields.get(RENAMED.get(name, name))
        if field is None:
            meant = nearest(name, fields)
            fault = f"{place}: {name} names no setting" + (f"; did you mean {meant}?" if meant else "")
            found[place] = Given(value, place, "file", name, _removed(f"{place}: {name}", name) or fault)
        elif name == "var_dir":
            fault = f"{place}: var_dir cannot be set in the file, which lies in that folder; set {variable(name)}"
            found[place] = Given(value, place, "file", name, fault)
        else:
            found[name] = Given(read_value(value, field, path.parent), place, "file", name)
    return found


def _text(path: Path) -> str:
    """Return the text of the file of settings; none if there is no file."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors put a byte-order mark at the beginning
    except FileNotFoundError:
        if path.is_symlink():
            raise SettingsError(f"cannot read the settings in {path}: it is a link to nothing") from None
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {path}: {error.strerror}") from None


def read_value(value: Any, field: FieldInfo, folder: Path) -> Any:
    """Read a value that is written as TOML or JSON; a relative path starts at the folder."""
    kinds = _kinds(field.annotation)
    if value == NULL and NoneType in kinds:
        return None
    if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
        return str(value).lower()  # pydantic would take true for 1, but refuses the text
    may_be_path = Path in kinds or MAY_BE_PATH in field.metadata
    if may_be_path and isinstance(value, str) and value and not value.startswith("~") and not is_url(value):
        return str(folder / value)
    return value


def _line(text: str, name: str) -> int:
    """Return the line on which a key of the top level is written, from 1."""
    key = re.compile(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(name)}["']?[ \t]*[=.\]]""", re.MULTILINE)
    found = key.search(text)
    return text.count("\n", 0, found.start() if found else 0) + 1


def _under_new_names(written: dict[str, Given]) -> dict[str, Given]:
    """Pass on under its new name what was written under an old one; where both are given, the old one is a fault."""
    named = dict(written)
    for old, new in RENAMED.items():
        if old not in named:
            continue
        item = named.pop(old)
        if new in named:
            fault = (
                f"{item.place}: {old} is the old name of {new}, which {named[new].place} sets too; remove the old one"
            )
            named[item.place] = replace(item, fault=fault)
        else:
            _warn(f"{item.place}: {old} is now called {new}; use the new name, the old one will be refused some day")
            named[new] = item
    return named


@cache
def _warn(message: str) -> None:
    """Log a warning the first time only: the settings are read several times in a process."""
    log.warning("%s", message)


def _kinds(annotation: Any) -> set[type]:
    """Return the types that a value may have; a choice of words counts as text."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind for member in get_args(annotation) for kind in _kinds(member)}
    if get_origin(annotation) is Literal:
        return {type(word) for word in get_args(annotation)}
    return {get_origin(annotation) or annotation}
