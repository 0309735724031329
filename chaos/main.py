"""``make chaos``: break a running system in every way that can be had, and look whether anything was lost.

``python -m chaos.main [--seed N] [--faults N] [--events N] [--minutes M] [--gap S] [--kind K] [--first K]
[--postgresql]``

A seed gives the same sequence of faults, annotators and ground again. What the processes are doing at the moment of a
fault is not repeated: a failure may need some tries with its seed. Ends with exit code 1 if an invariant is broken.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.postgresql import is_installed, postgresql_server
from chaos.invariants import INVARIANTS
from chaos.run import Outcome, Plan, run
from chaos.schedule import Kind

FOLDER: Final = Path("var") / "chaos"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--faults", type=int, default=500)
    made.add_argument("--events", type=int, default=5000)
    made.add_argument("--minutes", type=float, default=240.0)
    made.add_argument("--pause", type=float, default=1.0, help="mean seconds between two actions of an annotator")
    made.add_argument("--gap", type=float, default=4.0, help="mean seconds between two faults")
    made.add_argument("--round-size", type=int, default=48, help="patches of a round")
    made.add_argument("--kind", type=Kind, action="append", help="kind of faults, repeatable; default: all")
    made.add_argument("--first", type=Kind, action="append", default=[], help="kind of the next of the first faults")
    made.add_argument("--postgresql", action="store_true", help="use a PostgreSQL server, and restart it, too")
    return made


def table(plan: Plan, outcome: Outcome) -> str:
    """Return the figures of a run as a table in Markdown."""
    lines = ["| what | how often |", "|---|---|"]
    lines += [f"| {kind} | {count} |" for kind, count in sorted(outcome.applied.items())]
    lines += [f"| found nothing to harm: {kind} | {count} |" for kind, count in sorted(outcome.missed.items())]
    lines += [f"| annotations: {action} | {count} |" for action, count in sorted(outcome.events.items())]
    lines += [f"| calls of annotators that failed | {outcome.unacknowledged} |"]
    lines += [f"| {name} | {count} |" for name, count in outcome.counts.items()]
    lines += [f"| started again by the operator: {name} | {count} |" for name, count in outcome.revived.items()]
    lines += [f"| jobs retried by the operator | {len(outcome.retried)} |"]
    lines += [f"| seconds: {name} | {value:.0f} |" for name, value in outcome.seconds.items()]
    broken = [title for title in INVARIANTS if any(text.startswith(title) for text in outcome.violations)]
    lines += [f"| {title} | {'BROKEN' if title in broken else 'held'} |" for title in INVARIANTS]
    head = f"Seed {plan.seed}, {sum(outcome.applied.values())} faults, {sum(outcome.events.values())} label events, "
    return "\n".join([f"{head}{outcome.database}.", "", *lines])


def main() -> None:
    """Do a run, print what it found, and write it to ``var/chaos``."""
    given = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # stops the system, and unmounts its folder
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # our own calls are never damaged, and the system's go through our proxy
    kinds = given.kind or tuple(Kind)
    amounts = (given.faults, given.events, given.minutes, given.pause, given.gap, given.round_size)
    plan = Plan(given.seed, *amounts, kinds, given.first)
    if given.postgresql and not is_installed():
        sys.exit("found no PostgreSQL server programs; install them (apt-get install postgresql)")
    keep = FOLDER / f"seed-{plan.seed}"
    shutil.rmtree(keep, ignore_errors=True)
    with ExitStack() as stack:
        url = stack.enter_context(postgresql_server()) if given.postgresql else None
        outcome = run(plan, lambda text: print(text, flush=True), url, keep)
    (keep / "outcome.json").write_text(json.dumps(vars(outcome), indent=1))
    print(f"\n{table(plan, outcome)}\n")
    print("\n".join(["Failed for good, retried by the operator:", *outcome.retried]) if outcome.retried else "")
    if outcome.violations:
        sys.exit(
            "\n".join(["", f"Replay with --seed {plan.seed} and the same other arguments. Found:", *outcome.violations])
        )


if __name__ == "__main__":
    main()
