"""One chaos run: start a system, let annotators work, apply faults, let it come to rest, and judge the end state."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import select

from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.installation import find_installation
from catalog.records import EventState, Job, JobKind, JobState, LabelEvent, Round, TrainingRun
from chaos.annotators import Annotator, Desk
from chaos.evidence import gather
from chaos.fault_proxy import fault_proxy
from chaos.faults import LATE_S, Saboteur
from chaos.folder import small_folder
from chaos.ground import PATCH_PX, pool_truth, write_ground
from chaos.invariants import violations
from chaos.schedule import Fault, schedule
from chaos.system import System
from cli.simulated_annotator import sign_in
from labeling.client import LabelStudio
from services.promotion import SERVING

_ANNOTATORS: Final = 2
_REST_S: Final = 900.0
_STILL_S: Final = 30.0  # longer than from one reconciliation to the next
_SETUP_S: Final = 900.0
# What the clock enqueues again and again.
_PERIODIC: Final = frozenset({JobKind.SYNC_LABEL_STUDIO, JobKind.REMOVE_SUPERSEDED, JobKind.MEND_FILES})


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        seed: Of the faults, the ground and the annotators.
        faults: Most faults.
        events: Label events; the annotators stop after so many.
        minutes: After this time no further fault is applied.
        pause_s: Mean time between two actions of an annotator.
    """

    seed: int
    faults: int
    events: int
    minutes: float
    pause_s: float = 1.0


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
        retried: Jobs that had failed for good and were retried by the operator, with their errors.
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
        RuntimeError: The system did not start, or did not come to rest.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(small_folder())
        proxy = stack.enter_context(fault_proxy(lambda _: None, LATE_S))
        changes: dict[str, object] = {} if database_url is None else {"database_url": database_url}
        system = System(folder.path / "var", proxy.url, changes)
        port = None if database_url is None else int(database_url.rpartition(":")[2].partition("/")[0])
        saboteur = Saboteur(system, proxy, folder, plan.seed, port)
        outcome = Outcome(database="SQLite" if database_url is None else "PostgreSQL")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            stack.callback(shutil.copytree, folder.path / "var" / "logs", keep / "logs", dirs_exist_ok=True)
        stack.callback(system.stop)
        say("starting the system")
        system.start()
        desk = _set_up(system, plan, say)
        annotators = [Annotator(desk, plan.seed, plan.events, number, _ANNOTATORS) for number in range(_ANNOTATORS)]
        for annotator in annotators:
            annotator.start()
        started = time.monotonic()
        faults = schedule(plan.seed, plan.faults, saboteur.possible)
        _sabotage(system, saboteur, faults, outcome, plan, say, keep)
        outcome.seconds["faults"] = time.monotonic() - started
        while desk.events < plan.events and time.monotonic() - started < 60 * plan.minutes:
            time.sleep(1)
        for annotator in annotators:
            annotator.stopped.set()
            annotator.join()
        outcome.events, outcome.unacknowledged = desk.done, desk.failed
        say(f"{desk.events} label events; waiting for rest")
        resting = time.monotonic()
        with _opened(system) as catalog:
            resting_problem = _come_to_rest(system, catalog, outcome)
            outcome.seconds["rest"] = time.monotonic() - resting
            found = gather(catalog, desk.project_id, desk.last)
            outcome.violations += resting_problem + violations(found)
            outcome.counts = _counts(catalog) | {"versions": len(found.versions), "labels": len(found.labels)}
            outcome.counts["annotations"] = len(found.annotations)
        return outcome


@contextmanager
def _opened(system: System) -> Iterator[Catalog]:
    catalog = system.catalog()
    try:
        yield catalog
    finally:
        catalog.close()


def _set_up(system: System, plan: Plan, say: Callable[[str], None]) -> Desk:
    """Register the scenes, wait for the first round, and sign the annotator in."""
    settings = system.settings
    # Half of the events create a label. Some patches must be left when all are done, or no round can be opened.
    side = PATCH_PX * max(8, round((0.7 * plan.events) ** 0.5))
    for request in write_ground(settings.scene_root, plan.seed, side):
        answer = system.post("scenes", request)
        if answer.status_code >= requests.codes.bad_request:
            raise RuntimeError(f"the scene {request['name']} was refused: {answer.text}")
    say(f"registered a pool of {(side // PATCH_PX) ** 2} patches; opening the first round")
    with _opened(system) as catalog:

        def has_tiled() -> bool:
            return not _open_jobs(catalog)

        def is_open() -> bool:
            with catalog.read() as session:
                return session.scalar(select(Round.published_at).limit(1)) is not None

        system.wait("the scenes to be tiled", has_tiled, _SETUP_S)
        system.post("rounds")
        system.wait("the first round to open", is_open, _SETUP_S)
        with catalog.read() as session:
            installation = find_installation(session)
        secrets = catalog.secrets
    project_id = installation.label_studio_project_id if installation else None
    if project_id is None:
        raise RuntimeError("a round is open, but no project is known")
    url = settings.label_studio_url
    administrator = LabelStudio(url, secrets.label_studio_token)
    password = secrets.operator_token
    sign_in(administrator, url, "chaos@glacier.local", password)
    token = administrator.user_token("chaos@glacier.local", password)
    return Desk(LabelStudio(url, token), url, token, project_id, pool_truth(settings.scene_root), plan.pause_s)


def _sabotage(
    system: System,
    saboteur: Saboteur,
    faults: list[Fault],
    outcome: Outcome,
    plan: Plan,
    say: Callable[[str], None],
    keep: Path | None,
) -> None:
    deadline = time.monotonic() + 60 * plan.minutes
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
        if system.has_ended:
            outcome.violations.append(f"`up` ended by itself after fault {fault.number} ({fault}); see chaos-up.txt")
            system.restart_killed()
        for name in system.revive():
            outcome.revived[name] += 1


def _open_jobs(catalog: Catalog) -> list[Job]:
    with catalog.read() as session:
        listed = session.scalars(select(Job).where(Job.state.in_((JobState.QUEUED, JobState.RUNNING)))).all()
    return [job for job in listed if job.kind not in _PERIODIC]


def _come_to_rest(system: System, catalog: Catalog, outcome: Outcome) -> list[str]:
    """Wait until nothing has been left to do for a while; do what an operator does with parts and jobs given up.

    Returns:
        Nothing, or what was left to do when the time was up.
    """
    still_since = time.monotonic()

    def is_at_rest() -> bool:
        nonlocal still_since
        for name in system.revive():
            outcome.revived[name] += 1
        if _retry_failed(system, catalog, outcome) or _open_jobs(catalog) or not system.is_ready():
            still_since = time.monotonic()
        return time.monotonic() - still_since > _STILL_S

    deadline = time.monotonic() + _REST_S
    while not is_at_rest():
        if time.monotonic() > deadline:
            waiting = [f"{job.key} ({job.state.value}: {job.error})" for job in _open_jobs(catalog)]
            return [f"the system did not come to rest within {_REST_S:.0f} s; open jobs: {waiting}"]
        time.sleep(1)
    return []


def _retry_failed(system: System, catalog: Catalog, outcome: Outcome) -> bool:
    """Retry each job that has failed for good, once; return whether there was one."""
    with catalog.read() as session:
        failed = session.scalars(select(Job).where(Job.state == JobState.FAILED)).all()
    again = False
    for job in failed:
        line = f"{job.kind.value} {job.id}: {job.error}"
        if not any(item.startswith(f"{job.kind.value} {job.id}:") for item in outcome.retried):
            outcome.retried.append(line)
            again |= system.post(f"jobs/{job.id}/retry").ok
    return again


def _counts(catalog: Catalog) -> dict[str, int]:
    with catalog.read() as session:
        runs = session.scalars(select(TrainingRun)).all()
        served = session.scalars(select(Promotion).where(Promotion.verdict.in_(SERVING))).all()
        rounds = session.scalars(select(Round.id)).all()
        events = session.execute(select(LabelEvent.origin, LabelEvent.state)).all()
        jobs = session.scalars(select(Job)).all()
    return {
        "rounds": len(rounds),
        "fine-tunes": len(runs),
        "promotions": len(served),
        "jobs": len(jobs),
        "attempts of jobs": sum(job.attempt for job in jobs),
        "events in the ledger": len(events),
        "events found by reconciliation": sum(origin == "reconciliation" for origin, _ in events),
        "events failed": sum(state is EventState.FAILED for _, state in events),
    }
