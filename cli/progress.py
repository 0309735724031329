"""How far long work is, on standard error: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from cli.output import progress_console
from glacier_al_client.types import JobAnswer
from services.durations import in_words

EVERY_S: Final = 30.0
EVERY_PERCENT: Final = 10
"""A plain line is printed when so many seconds have passed, or another tenth is done."""
ESTIMATE_AFTER_S: Final = 5.0
QUIET_S: Final = 3.0
"""Work that mostly ends within so many seconds shows nothing until then."""

Tell = Callable[[float | None, float | None], None]
"""Takes the share that is done, 0 to 1, and the seconds left; None while unknown."""


@contextmanager
def progress(what: str, quiet_s: float = 0.0) -> Iterator[Tell]:
    """Show how far a piece of work is during the block.

    Args:
        what: The work in a few words.
        quiet_s: Nothing is shown of work that ends within so many seconds.

    Yields:
        A function that is told of progress. Where it is told no time, that is estimated from the time taken.
    """
    begun = time.monotonic()
    with _on_terminal(what) if sys.stderr.isatty() else _in_lines(what) as show:

        def tell(share: float | None, eta_s: float | None) -> None:
            took_s = time.monotonic() - begun
            if took_s < quiet_s:
                return
            if eta_s is None and share and took_s > ESTIMATE_AFTER_S:
                eta_s = took_s * (1 - share) / share
            show(share, eta_s)

        yield tell


@contextmanager
def job_progress(what: str) -> Iterator[Callable[[JobAnswer], None]]:
    """Show how far a job of the server is during the block; yield a function that is given the job again and again."""
    with progress(what) as tell:
        yield lambda job: tell(job.progress, job.eta_s)


@contextmanager
def _on_terminal(what: str) -> Iterator[Tell]:
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, console=progress_console(), transient=True) as bars:
        bar = bars.add_task(what, total=None, left="")
        yield lambda share, eta_s: bars.update(
            bar, total=None if share is None else 1.0, completed=share or 0.0, left=_left(eta_s)
        )


@contextmanager
def _in_lines(what: str) -> Iterator[Tell]:
    told_at, told = float("-inf"), 0

    def show(share: float | None, eta_s: float | None) -> None:
        nonlocal told_at, told
        now, tenths = time.monotonic(), round(100 * (share or 0.0)) // EVERY_PERCENT
        if now - told_at < EVERY_S and tenths <= told:
            return
        told_at, told = now, tenths
        parts = [what, "" if share is None else f"{share:.0%}", _left(eta_s)]
        click.echo(", ".join(filter(None, parts)), err=True)

    yield show


def _left(eta_s: float | None) -> str:
    return "" if eta_s is None else f"{in_words(eta_s)} left"
