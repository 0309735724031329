"""``glacier-al status``: where the loop stands, on one screen."""

import shutil
import textwrap
from collections.abc import Iterator
from typing import Final

import click

from cli.exit_codes import ExitCode
from cli.output import as_json, json_option, print_json
from cli.server import connected
from glacier_al_client.types import StatusAnswer, VersionStatus
from services.durations import in_words

WIDTH: Final = 80
TROUBLES_SHOWN: Final = 4
JOBS_SHOWN: Final = 4
STEP_LINES: Final = 3
LABEL_WIDTH: Final = 10
ROLES: Final = ("pool", "validation", "test")
COLOURS: Final = {"fault": "red", "look": "yellow", None: "green"}


@click.command()
@click.option("--url", help="address of another system than the one that runs on the data folder; needs a token")
@click.option("--token", envvar="GLACIER_AL_TOKEN", help="a token, a reader's at least (GLACIER_AL_TOKEN)")
@json_option
def status(url: str | None, token: str | None) -> None:
    """Show on one screen where the loop stands: health, the next step, versions, work with time left, round, labels.

    The exit code is 3 if something is broken.
    """
    with connected(url, token, role="reader") as server:
        found = server.status()
    if as_json():
        print_json(found)
    else:
        click.echo("\n".join(lines(found, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))))
    if found.health.tone == "fault":
        raise SystemExit(ExitCode.FOUND)


def lines(found: StatusAnswer, width: int = WIDTH) -> Iterator[str]:
    """Yield at most 24 lines."""
    yield click.style("● ", fg=COLOURS.get(found.health.tone)) + _short(found.health.words, width - 2)
    # The next step of a system with troubles is the first of them.
    troubles = [step for step in found.health.troubles if step != found.next_step]
    for step in troubles[:TROUBLES_SHOWN]:
        yield _short(f"  - {step.text}", width)
    if len(troubles) > TROUBLES_SHOWN:
        yield f"  - and {len(troubles) - TROUBLES_SHOWN} more, on the dashboard"
    yield ""
    wrapped = textwrap.wrap(found.next_step.text, width - LABEL_WIDTH, max_lines=STEP_LINES, placeholder=" ...")
    yield from _rows("Next", wrapped)
    yield ""
    needed = f"{found.new_labels} of the {found.new_labels_needed} new labels that start a fine-tune"
    rows = {
        "Served": [_version(found.champion)],
        "Learning": [_version(found.learner), needed],
        "Round": [_round(found)],
        "Labels": [_labels(found)],
        "Scenes": [", ".join(f"{found.scenes.get(role, 0)} {role}" for role in ROLES) + " ready"],
        "Running": list(_work(found)) or ["nothing"],
    }
    for label, texts in rows.items():
        yield from _rows(label, [_short(text, width - LABEL_WIDTH) for text in texts])


def _rows(label: str, texts: list[str]) -> Iterator[str]:
    for place, text in enumerate(texts):
        yield f"{'' if place else label:<{LABEL_WIDTH}}{text}"


def _version(version: VersionStatus | None) -> str:
    if version is None:
        return "no version yet"
    quality = "" if version.mean_iou is None else f", mean IoU {version.mean_iou:.3f} on validation"
    return f"version {version.version}{quality}, {version.labels} labels"


def _round(found: StatusAnswer) -> str:
    if found.round is None:
        return f"none is open; {found.rounds} so far"
    done, waiting = found.round.done, found.round.waiting
    return f"{found.round.id} is {found.round.state}: {done} of {done + waiting} patches done"


def _labels(found: StatusAnswer) -> str:
    events = found.label_events
    waiting, failed = events.get("received", 0), events.get("failed", 0)
    return f"{found.labels} stand; label events: {waiting} waiting, {failed} failed"


def _work(found: StatusAnswer) -> Iterator[str]:
    if found.scoring is not None:
        yield "scoring of the pool" + _far(found.scoring.progress, found.scoring.eta_s)
    for job in found.jobs[:JOBS_SHOWN]:
        yield f"{job.kind.replace('_', ' ')}" + (
            _far(job.progress, job.eta_s) if job.state == "running" else ", queued"
        )
    more = len(found.jobs[JOBS_SHOWN:]) + found.more_jobs
    if more:
        yield f"and {more} more jobs"


def _far(share: float | None, eta_s: float | None) -> str:
    done = "" if share is None else f", {share:.0%}"
    return done + ("" if eta_s is None else f", {in_words(eta_s)} left")


def _short(text: str, width: int) -> str:
    text = " ".join(text.split()) if not text.startswith(" ") else text
    return text if len(text) <= width else f"{text[: width - 4]} ..."
