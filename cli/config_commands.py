"""``glacier-al init`` and ``glacier-al config``: write the settings file, and show the settings in force."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from catalog import files
from catalog.database import Database
from catalog.setting_changes import applied, standing
from catalog.settings import Settings
from catalog.settings_guide import file_text, groups, toml
from catalog.settings_in_force import InForce, described, in_force
from catalog.settings_sources import PREFIX, RENAMED, config_file, data_folder, nearest
from cli.errors import StartError
from cli.output import as_json, json_option, print_json, print_table, tell


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
    configured = Settings()
    settings = applied(configured, _changes(configured))
    names = [chosen] if chosen else list(Settings.model_fields)
    decided = {}
    if any(getattr(settings, name) in (None, []) for name in names):
        from workers.recipe import decided_by_architecture  # loads torch, which takes seconds

        decided = decided_by_architecture(settings)
    found = in_force(configured, settings, names, decided)
    facts = {name: described(settings, name, item) for name, item in found.items()}
    if as_json():  # with meaning, unit, allowed values and default
        print_json(facts[chosen] if chosen else facts)
    elif chosen:
        _show_one(chosen, found[chosen], facts[chosen])
    else:
        for title, members in groups(Settings).items():
            rows = [(name, toml(facts[name]["value"]), _origin(found[name])) for name in members]
            print_table(("setting", "value", "from"), rows, title=title)
        path = config_file(settings.var_dir)
        click.echo(f"File: {path}" if path.exists() else f"File: none; `glacier-al init` writes {path}")


def _changes(settings: Settings) -> dict[str, Any]:
    """Return what people changed of the settings while the system ran; nothing where there is no database yet."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return {}
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            return standing(session)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        click.echo(f"The database cannot be read ({reason}): changes on the page /settings are not shown.", err=True)
        return {}
    finally:
        database.dispose()


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


def _show_one(name: str, item: InForce, facts: Mapping[str, Any]) -> None:
    click.echo(f"{name} = {toml(facts['value'])}")
    click.echo(f"  {facts['meaning']}")
    shown = {
        "From": _origin(item),
        "Unit": facts["unit"],
        "Allowed": facts["allowed"],
        "Default": toml(facts["default"]),
        "While running": "may be changed on the page /settings" if facts["run_time"] else "",
        "Environment": facts["variable"],
    }
    for title, text in shown.items():
        if text:
            click.echo(f"  {title}: {text}")


def _origin(item: InForce) -> str:
    """Return a short text that says where a value comes from."""
    if item.source == "page":
        return "the page /settings"
    if item.source == "derived":
        return f"derived from {item.place}"
    return f"architecture {item.place}" if item.source == "architecture" else item.place or item.source
