"""``glacier-al init`` and ``glacier-al config``: write the settings file, and show the settings in force."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from pydantic_core import to_jsonable_python

from catalog import files
from catalog.settings import Settings
from catalog.settings_guide import allowed, default, file_text, groups, toml, unit, without_secrets
from catalog.settings_sources import PREFIX, RENAMED, Given, config_file, data_folder, nearest, read_given, variable
from cli.errors import StartError
from cli.output import as_json, json_option, print_json, print_table, tell


@dataclass(frozen=True)
class InForce:
    """The value of a setting, and where it comes from.

    Attributes:
        value: Its value.
        source: "default", "derived", "file", "environment" or "architecture".
        place: The setting, line, variable or architecture that gives the value; empty for a default.
    """

    value: Any
    source: str
    place: str = ""


@click.command()
@click.option("--print", "is_printed", is_flag=True, help="show the text instead of writing the file")
@json_option
def init(is_printed: bool) -> None:
    """Write config.toml into the data folder: every setting, explained and commented out."""
    folder = data_folder(Settings.model_fields)
    text = file_text(Settings, folder)
    if is_printed:
        tell(text.removesuffix("\n"), text=text)
        return
    path = config_file(folder)
    try:
        files.write_new(path, text)
    except FileExistsError as error:
        raise StartError(
            f"{path} exists and is left as it is. `glacier-al config` shows what it sets, `glacier-al init --print` "
            "what a new one holds. Move the file away to have a new one written."
        ) from error
    text = f"Wrote {path}. Every setting in it is commented out; edit it, then start with `glacier-al up`."
    tell(text, file=path)


@click.command()
@click.argument("name", required=False)
@json_option
def config(name: str | None) -> None:
    """Show the settings in force and where each comes from; with NAME, one of them with its meaning."""
    chosen = _setting_name(name) if name else None
    settings = Settings()
    found = in_force(settings, read_given(Settings.model_fields, {}), [chosen] if chosen else Settings.model_fields)
    described = {name: _described(settings, name, item) for name, item in found.items()}
    if as_json():  # with meaning, unit, allowed values and default
        print_json(described[chosen] if chosen else described)
    elif chosen:
        _show_one(chosen, found[chosen], described[chosen])
    else:
        for title, names in groups(Settings).items():
            rows = [(name, toml(described[name]["value"]), _origin(found[name])) for name in names]
            print_table(("setting", "value", "from"), rows, title=title)
        path = config_file(settings.var_dir)
        click.echo(f"File: {path}" if path.exists() else f"File: none; `glacier-al init` writes {path}")


def in_force(settings: Settings, given: Mapping[str, Given], names: Iterable[str]) -> dict[str, InForce]:
    """Return the values of settings, and where they come from.

    Args:
        settings: The settings.
        given: The settings given in the environment or the file.
        names: Names of settings.
    """
    values = {name: getattr(settings, name) for name in names}
    decided = {}
    if any(value in (None, []) for value in values.values()):
        from workers.recipe import decided_by_architecture  # loads torch, which takes seconds

        decided = decided_by_architecture(settings)
    found = {}
    for name, value in values.items():
        field = Settings.model_fields[name]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        origin = str(extra.get("derived_from", ""))
        if name in decided:
            item = InForce(decided[name], "architecture", settings.architecture)
        elif origin and (name not in given or not value):
            item = InForce(value or getattr(settings, origin), "derived", origin)
        elif name in given:
            item = InForce(value, given[name].origin, given[name].place)
        else:
            item = InForce(value, "default")
        found[name] = item
    return found


def _setting_name(written: str) -> str:
    """Return the name of a setting, given as its name, its environment variable or a former name."""
    name = written.lower().removeprefix(PREFIX.lower())
    if name in RENAMED:
        click.echo(f"{name} is now called {RENAMED[name]}.", err=True)
        return RENAMED[name]
    if name not in Settings.model_fields:
        meant = nearest(name, Settings.model_fields)
        raise click.UsageError(f"found no setting {written!r}" + (f"; did you mean {meant}?" if meant else ""))
    return name


def _described(settings: Settings, name: str, item: InForce) -> dict[str, Any]:
    """Return all facts about a setting as JSON values, without passwords."""
    values = {"value": item.value, "default": default(Settings, name, settings.var_dir)}
    return {
        **{key: without_secrets(to_jsonable_python(value)) for key, value in values.items()},
        "source": item.source,
        "place": item.place,
        "meaning": Settings.model_fields[name].description,
        "unit": unit(name),
        "allowed": allowed(Settings, name),
        "variable": variable(name),
    }


def _show_one(name: str, item: InForce, described: Mapping[str, Any]) -> None:
    click.echo(f"{name} = {toml(described['value'])}")
    click.echo(f"  {described['meaning']}")
    facts = {
        "From": _origin(item),
        "Unit": described["unit"],
        "Allowed": described["allowed"],
        "Default": toml(described["default"]),
        "Environment": described["variable"],
    }
    for title, text in facts.items():
        if text:
            click.echo(f"  {title}: {text}")


def _origin(item: InForce) -> str:
    """Return a short text that says where a value comes from."""
    if item.source == "derived":
        return f"derived from {item.place}"
    return f"architecture {item.place}" if item.source == "architecture" else item.place or item.source
