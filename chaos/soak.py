"""``make soak``: let a whole system work, and look whether memory, threads, file handles and databases stay flat.

``python -m chaos.soak [--minutes M] [--every S] [--pause S] [--seed N]``

Two annotators label through Label Studio, rounds and fine-tunes go on by themselves, a web tool polls for the served
version, and a scraper reads ``/metrics``. The first third of the time is warm-up. Ends with exit code 1 if a series
grows, or a part ended. Samples and logs are kept in ``var/chaos/soak``, the figures in ``var/bench``.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import Result, markdown, publish
from chaos.annotators import Annotator
from chaos.clients import Client, Scraper, WebTool
from chaos.first_round import open_first_round
from chaos.growth import EVENT_LIMIT, FEWEST, LIMIT, Slope, Verdict, judge_cost, judge_trend
from chaos.ledger import counts, opened
from chaos.system import System
from chaos.usage import Sample, interruptions, part_series, parts_of, take_sample

KEEP: Final = Path("var") / "chaos" / "soak"
WARM_UP_SHARE: Final = 1 / 3
_ANNOTATORS: Final = 2
_POLL_S: Final = 5.0
_SCRAPE_S: Final = 15.0
_EVENTS_A_PAUSE: Final = 8 / 3  # two annotators take four actions in three pauses each
# A lease as in production: the machine may be busy, and no fault is wanted.
_CHANGES: Final[Mapping[str, object]] = {"job_stale_after_s": 60.0, "fine_tune_after_labels": 12}
# What adds to each store.
_GROWS_BY: Final[Mapping[str, str]] = {
    "catalog": "label event",
    "Label Studio, database": "label event",
    "masks, maps, views": "label event",
    "Redis, file": "label event",
    "logs": "label event",
    "MLflow, database": "fine-tune",
    "MLflow, artifacts": "fine-tune",
    "data folder": "label event",
}


@dataclass(frozen=True)
class Plan:
    """What a soak is to do.

    Attributes:
        minutes: How long samples are taken.
        every_s: Seconds from one sample to the next.
        pause_s: Mean time between two actions of an annotator.
        seed: Of the ground and the annotators.
    """

    minutes: float
    every_s: float
    pause_s: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a soak measured: its samples, and what happened by name (in the ledger, in Label Studio, to the clients)."""

    samples: Sequence[Sample]
    happened: Mapping[str, int]


def soak(plan: Plan, say: Callable[[str], None], keep: Path) -> Outcome:
    """Run a system and take samples of it.

    Args:
        plan: What to do.
        say: Gets a line for each thing that happens.
        keep: Folder for the samples, which are written one by one, and for the logs of all processes.

    Raises:
        RuntimeError: The system did not start, or ended by itself.
    """
    with ExitStack() as stack:
        var = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))) / "var"
        system = System(var, None, _CHANGES)
        keep.mkdir(parents=True, exist_ok=True)
        stack.callback(shutil.copytree, var / "logs", keep / "logs", dirs_exist_ok=True)
        stack.callback(system.stop)
        say("starting the system")
        system.start()
        events = round(_EVENTS_A_PAUSE * 60 * plan.minutes / plan.pause_s)
        desk = open_first_round(system, plan.seed, events, plan.pause_s, say)
        annotators = [Annotator(desk, plan.seed, sys.maxsize, number, _ANNOTATORS) for number in range(_ANNOTATORS)]
        catalog = stack.enter_context(opened(system))
        token, url = catalog.secrets.reader_token, system.settings.api_url
        clients: list[Client] = [WebTool(url, token, _POLL_S), Scraper(url, token, _SCRAPE_S)]
        threads: list[Annotator | Client] = [*annotators, *clients]
        for thread in threads:
            thread.start()
        samples: list[Sample] = []
        started = time.monotonic()
        with (keep / "samples.jsonl").open("w") as file:
            while (at_s := time.monotonic() - started) < 60 * plan.minutes:
                if system.has_ended:
                    raise RuntimeError(f"`up` ended by itself after {at_s:.0f} s; see {keep / 'logs'}")
                samples.append(take_sample(system, catalog, at_s))
                file.write(json.dumps(asdict(samples[-1])) + "\n")
                file.flush()
                say(f"{at_s:.0f} s: {samples[-1].events}")
                time.sleep(max(0.0, started + len(samples) * plan.every_s - time.monotonic()))
        for thread in threads:
            thread.stopped.set()
        for thread in threads:
            thread.join()
        happened = counts(catalog) | {f"annotations {action}": count for action, count in desk.done.items()}
        happened["calls of annotators that failed"] = desk.failed
        for client in clients:
            happened |= {f"{client.name}: {kind}": count for kind, count in client.counts.items()}
        return Outcome(samples, happened)


def judged(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples after the warm-up."""
    return [sample for sample in samples if sample.at_s >= WARM_UP_SHARE * samples[-1].at_s]


def flat_rows(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """Return a row for each series of each part, and for Redis's memory."""
    rows = []
    listed = {
        (part, name): series
        for part in parts_of(samples)
        for name, series in part_series(samples, part).items()
        if len(series[0]) >= FEWEST
    }
    seconds = [sample.at_s for sample in samples]
    listed["redis", "used_memory, MiB"] = (seconds, [sample.stores["Redis, memory"] / 2**20 for sample in samples])
    for (part, name), (at_s, values) in listed.items():
        trend = judge_trend(at_s, values)
        rows.append(
            {
                "part": part,
                "series": name,
                "level": trend.level,
                "first": values[0],
                "last": values[-1],
                "growth per hour, %": _with_interval(trend.hourly, 100),
                "verdict": trend.verdict.value,
            }
        )
    return rows


def store_rows(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """Return a row for each store that grows with what people and trainings do."""
    rows = []
    for name, event in _GROWS_BY.items():
        counted = [float(sample.events[event]) for sample in samples]
        sizes = [float(sample.stores[name]) for sample in samples]
        cost = judge_cost(counted, sizes)
        rows.append(
            {
                "store": name,
                "MB": sizes[-1] / 1e6,
                "per": event,
                "kB in the earlier half": _with_interval(cost.early, 1e-3),
                "kB in the later half": _with_interval(cost.late, 1e-3),
                "verdict": cost.verdict.value,
            }
        )
    return rows


def _with_interval(slope: Slope | None, factor: float) -> str:
    if slope is None:
        return "too few points"
    value, low, high = (factor * number for number in (slope.value, slope.low, slope.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=float, default=60.0)
    made.add_argument("--every", type=float, default=15.0, help="seconds from one sample to the next")
    made.add_argument("--pause", type=float, default=6.0, help="mean seconds between two actions of an annotator")
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Do a soak, print what it found, and publish it."""
    given = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # stops the system
    shutil.rmtree(KEEP, ignore_errors=True)
    plan = Plan(given.minutes, given.every, given.pause, given.seed)
    outcome = soak(plan, lambda text: print(text, flush=True), KEEP)
    samples = judged(outcome.samples)
    flat, stores = flat_rows(samples), store_rows(samples)
    ended = {part: count for part in parts_of(outcome.samples) if (count := interruptions(outcome.samples, part))}
    print(f"\n{markdown(flat)}\n\n{markdown(stores)}\n")
    print(markdown([{"what": name, "count": count} for name, count in outcome.happened.items()]))
    conditions = {
        **asdict(plan),
        "samples": len(outcome.samples),
        "warm-up, share": WARM_UP_SHARE,
        "limit, share an hour": LIMIT,
        "limit, share an event": EVENT_LIMIT,
        "happened": dict(outcome.happened),
        "ended or started again": ended,
    }
    publish(Result("soak", flat, seeds=[plan.seed], conditions=conditions))
    publish(Result("soak_stores", stores, seeds=[plan.seed], conditions=conditions))
    growing = [row for row in (*flat, *stores) if row["verdict"] == Verdict.GROWS.value]
    if growing or ended:
        names = [f"{row.get('part', row.get('store'))}: {row.get('series', 'bytes')}" for row in growing]
        sys.exit(f"\ngrows: {', '.join(names) or 'nothing'}; ended or started again: {ended or 'nothing'}")


if __name__ == "__main__":
    main()
