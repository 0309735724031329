"""One chaos run: start a system, let annotators work, apply faults, let it come to rest, and judge the end state."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from catalog import set_aside
from catalog.context import Catalog
from catalog.records import Job, JobState
from chaos.annotators import Annotator
from chaos.evidence import gather
from chaos.fault_proxy import fault_proxy
from chaos.faults import LATE_S, Saboteur
from chaos.first_round import open_first_round
from chaos.folder import small_folder
from chaos.invariants import violations
from chaos.ledger import counts, open_jobs, opened
from chaos.schedule import Fault, Kind, schedule
from chaos.shifted_clock import shifted_clock
from chaos.system import System

_ANNOTATORS: Final = 2
_REST_S: Final = 900.0
_STILL_S: Final = 30.0  # longer than from one reconciliation to the next
_OPERATOR_S: Final = 60.0  # how often an operator looks for jobs that failed for good, while faults go on
# Fine-tunes come less often than labels.
_CHANGES: Final[Mapping[str, object]] = {"fine_tune_after_labels": 12}


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        seed: Of the faults, the ground and the annotators.
        faults: Most faults.
        events: Label events; the annotators stop after so many.
        minutes: After this time no further fault is applied.
        pause_s: Mean time between two actions of an annotator.
        gap_s: Mean time between two faults.
        round_size: Patches of a round: so many that labels are drawn for a while.
        kinds: Kinds of faults, of those that can be had here.
        first: Kinds of the first faults, in this order, besides.
    """

    seed: int
    faults: int
    events: int
    minutes: float
    pause_s: float = 1.0
    gap_s: float = 4.0
    round_size: int = 48
    kinds: Sequence[Kind] = tuple(Kind)
    first: Sequence[Kind] = ()


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        applied: Faults that were applied and found what they were about.
        missed: Faults that found nothing to harm, e.g. no job that ran.
        events: Label events that Label Studio acknowledged, by kind.
        unacknowledged: Calls of annotators that failed.
        counts: Figures of the system at its end.
        revived: Parts that supervisord had given up, each as often as it was started again.
        retried: Jobs that had failed for good, each time that the operator retried them, with their errors.
        violations: What was wrong at the end.
        seconds: Time of the faults, and until the system had come to rest afterwards.
        database: "SQLite" or "PostgreSQL".
    """

    applied: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    unacknowledged: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    revived: Counter[str] = field(default_factory=Counter)
    retried: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    database: str = "SQLite"


def run(
    plan: Plan,
    say: Callable[[str], None],
    database_url: str | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Do a run.

    Args:
        plan: What to do.
        say: Gets a line for each thing that happens.
        database_url: A PostgreSQL database; None: SQLite in the data folder.
        keep: Folder for the log of all faults and the logs of all processes.

    Raises:
        RuntimeError: The system did not start, or did not come to rest, or none of the faults can be had here, or one
            of the first cannot.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(small_folder())
        proxy = stack.enter_context(fault_proxy(lambda _: None, LATE_S))
        changes = {**_CHANGES, "round_size": plan.round_size}
        changes |= {} if database_url is None else {"database_url": database_url}
        clock = stack.enter_context(shifted_clock())
        system = System(folder.path / "var", proxy.url, changes, None if clock is None else clock.environ)
        port = None if database_url is None else int(database_url.rpartition(":")[2].partition("/")[0])
        saboteur = Saboteur(system, proxy, folder, plan.seed, port, clock)
        possible = [kind for kind in saboteur.possible if kind in plan.kinds]
        if not possible:
            raise RuntimeError(f"none of the faults {', '.join(plan.kinds)} can be had here; see docs/chaos.md")
        if impossible := set(plan.first) - set(saboteur.possible):
            raise RuntimeError(f"the faults {', '.join(sorted(impossible))} cannot be had here; see docs/chaos.md")
        outcome = Outcome(database="SQLite" if database_url is None else "PostgreSQL")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            stack.callback(shutil.copytree, folder.path / "var" / "logs", keep / "logs", dirs_exist_ok=True)
        stack.callback(system.stop)
        say("starting the system")
        system.start()
        desk = open_first_round(system, plan.seed, plan.events, plan.pause_s, say)
        annotators = [Annotator(desk, plan.seed, plan.events, number, _ANNOTATORS) for number in range(_ANNOTATORS)]
        for annotator in annotators:
            annotator.start()
        started = time.monotonic()
        faults = schedule(plan.seed, plan.faults, possible, plan.gap_s, plan.first)
        with opened(system) as catalog:
            _sabotage(system, catalog, saboteur, faults, outcome, plan, say, keep)
        outcome.seconds["faults"] = time.monotonic() - started
        while desk.events < plan.events and time.monotonic() - started < 60 * plan.minutes:
            time.sleep(1)
        for annotator in annotators:
            annotator.stopped.set()
            annotator.join()
        outcome.events, outcome.unacknowledged = desk.done, desk.failed
        say(f"{desk.events} label events; waiting for rest")
        resting = time.monotonic()
        with opened(system) as catalog:
            resting_problem = _come_to_rest(system, catalog, outcome)
            outcome.seconds["rest"] = time.monotonic() - resting
            found = gather(catalog, desk.project_id, desk.last)
            outcome.violations += resting_problem + violations(found)
            outcome.counts = counts(catalog) | {"versions": len(found.versions), "labels": len(found.labels)}
            outcome.counts["annotations"] = len(found.annotations)
            tasks = Counter(found.tasks.values()).values()
            outcome.counts["proposals with several tasks, drawn on or not"] = sum(count > 1 for count in tasks)
        return outcome


def _sabotage(
    system: System,
    catalog: Catalog,
    saboteur: Saboteur,
    faults: list[Fault],
    outcome: Outcome,
    plan: Plan,
    say: Callable[[str], None],
    keep: Path | None,
) -> None:
    deadline = time.monotonic() + 60 * plan.minutes
    looked_at = time.monotonic()
    for fault in faults:
        if time.monotonic() > deadline:
            say(f"the time is up before fault {fault.number}")
            break
        time.sleep(fault.pause_s)
        at = datetime.now(UTC)
        found = saboteur.apply(fault)
        (outcome.applied if found else outcome.missed)[fault.kind.value] += 1
        line: Mapping[str, Any] = {
            "seed": plan.seed,
            "number": fault.number,
            "time": at.isoformat(),
            "fault": str(fault),
            "found": found,
        }
        say(f"{at:%H:%M:%S} fault {fault.number}: {fault}{'' if found else ' (nothing there)'}")
        if keep is not None:
            with (keep / "faults.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        _restart_ended(system, outcome, f"fault {fault.number} ({fault})")
        for name in system.revive():
            outcome.revived[name] += 1
        if time.monotonic() - looked_at > _OPERATOR_S:
            looked_at = time.monotonic()
            with suppress(SQLAlchemyError):  # the database has just gone: the next look tries again
                _retry_failed(system, catalog, outcome, set())


def _restart_ended(system: System, outcome: Outcome, after: str) -> None:
    """Start `up` again if it has ended by itself, which is a violation."""
    if system.has_ended:
        outcome.violations.append(f"`up` ended by itself after {after}; see chaos-up.txt in its logs")
        system.restart_killed()


def _come_to_rest(system: System, catalog: Catalog, outcome: Outcome) -> list[str]:
    """Wait until nothing has been left to do for a while; do what an operator does with parts and jobs given up.

    Returns:
        Nothing, or what was left to do when the time was up.
    """
    still_since = time.monotonic()
    retried: set[str] = set()

    def is_at_rest() -> bool:
        nonlocal still_since
        _restart_ended(system, outcome, "the last fault")
        for name in system.revive():
            outcome.revived[name] += 1
        is_busy = open_jobs(catalog) or _set_aside(catalog)  # what is whole again is taken back within a minute or two
        if not system.is_ready() or _retry_failed(system, catalog, outcome, retried) or is_busy:
            still_since = time.monotonic()
        return time.monotonic() - still_since > _STILL_S

    deadline = time.monotonic() + _REST_S
    while not is_at_rest():
        if time.monotonic() > deadline:
            waiting = [f"{job.key} ({job.state.value}: {job.error})" for job in open_jobs(catalog)]
            return [
                f"the system did not come to rest within {_REST_S:.0f} s; open jobs: {waiting}; set aside: "
                f"{_set_aside(catalog)}"
            ]
        time.sleep(1)
    return []


def _set_aside(catalog: Catalog) -> list[str]:
    """Return what cannot be used, and why."""
    with catalog.read() as session:
        return [f"{row.name}: {row.reason}" for row in set_aside.standing(session)]


def _retry_failed(system: System, catalog: Catalog, outcome: Outcome, retried: set[str]) -> bool:
    """Retry the jobs that have failed for good, but for those in `retried`, which grows; return whether one was."""
    with catalog.read() as session:
        failed = session.scalars(select(Job).where(Job.state == JobState.FAILED)).all()
    again = False
    for job in failed:
        if job.id not in retried:
            with suppress(requests.RequestException):  # the API has just gone: the next look tries again
                is_queued = system.post(f"jobs/{job.id}/retry").ok
                retried.add(job.id)
                if is_queued:
                    again = True
                    outcome.retried.append(f"{job.kind.value} {job.id}: {job.error}")
    return again
