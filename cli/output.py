"""Output of the commands to a terminal, a file or a pipe."""

import io
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_WIDE = 10_000  # columns if the output is not a terminal, so that programs that read it get whole names


def write_any_text() -> None:
    r"""Let standard output and error take text in any script, whatever the encoding of the terminal.

    A character that the encoding lacks is written as an escape sequence, e.g. ``\u0413``, to stay readable.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def console() -> Console:
    """Return the console for tables and progress; text that contains brackets is shown as it is."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, caption: str | None = None
) -> None:
    """Print a table; a long text is folded in its cell, never cut."""
    table = Table(title=title, caption=caption)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)
