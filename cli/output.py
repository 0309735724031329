"""Output of the commands to a terminal, a file or a pipe: sentences and tables for people, or JSON for programs.

A command says what it did once (`tell`, `print_records`), with the values behind the words. With ``--json`` standard
output holds these values as one JSON document and nothing else; remarks and progress go to standard error.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

_WIDE = 10_000  # columns if the output is not a terminal, so that programs that read it get whole names
_AS_JSON: Final = "cli.output.as_json"  # key of the context
Function = TypeVar("Function", bound=Callable[..., Any])
Record = Mapping[str, Any]
Columns = Mapping[str, str | Callable[[Record], str]]
"""By heading the member to show, or a function of the record."""


def write_any_text() -> None:
    r"""Let standard output and error take text in any script, whatever the encoding of the terminal.

    A character that the encoding lacks is written as an escape sequence, e.g. ``\u0413``, to stay readable.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_option(function: Function) -> Function:
    """Give a command the option ``--json``; what it prints goes through this module then."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_note_json, help="print JSON, for programs"
    )(function)


def _note_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_AS_JSON] = True


def as_json() -> bool:
    """Return whether the command was called with ``--json``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_AS_JSON))


def print_json(value: Any) -> None:
    """Print a value as a JSON document: models, data classes, times and paths, too."""
    click.echo(json.dumps(value, indent=1, default=_plain))


def tell(text: str, /, **values: Any) -> None:
    """Print what a command did: a sentence, or with ``--json`` an object with the values behind it."""
    if as_json():
        print_json(values)
    else:
        click.echo(text)


def remark(text: str) -> None:
    """Print what goes on meanwhile; with ``--json`` to standard error."""
    click.echo(text, err=as_json())


def console() -> Console:
    """Return the console for tables; text that contains brackets is shown as it is."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, markup=False, emoji=False, highlight=False)


def progress_console() -> Console:
    """Return the console for progress displays, which are on standard error: standard output is for results."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_records(records: Sequence[Record], columns: Columns, title: str | None = None) -> None:
    """Print records: as a table, or with ``--json`` as a list of objects with all their members.

    Args:
        records: What to print.
        columns: What the table shows.
        title: Above the table.
    """
    if as_json():
        print_json(list(records))
        return
    print_table(tuple(columns), [[_cell(record, column) for column in columns.values()] for record in records], title)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, caption: str | None = None
) -> None:
    """Print a table for people; a long text is folded in its cell, never cut."""
    table = Table(title=title, caption=caption)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def moment(member: str) -> Callable[[Record], str]:
    """Return a column that shows a time (UTC) without its fractions; nothing where it is None."""
    return lambda record: f"{record[member]:%Y-%m-%d %H:%M:%S}" if record[member] is not None else ""


def _cell(record: Record, column: str | Callable[[Record], str]) -> str:
    if callable(column):
        return column(record)
    value = record[column]
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    raise TypeError(f"found {type(value).__name__}, expected a value that JSON can hold")
