"""Run the benchmarks and collect their results: ``python -m benchmarks.main [--long] [NAME ...]``.

The short form takes about a quarter of an hour on two cores. docs/benchmarks.md publishes figures of the long form.
The long form can be stopped and called again: it skips benchmarks that the same commit finished with the same
arguments. Each benchmark runs in a process of its own and writes ``var/bench/NAME.json``, in the long form
``var/bench/long/NAME.json``; ``report.json`` beside them holds all results.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.plots import draw
from benchmarks.report import BENCH, FOLDER_VARIABLE, is_of_this_code, read

# Arguments of the short form, and of the long form.
BENCHMARKS: Final[dict[str, tuple[list[str], list[str]]]] = {
    "scoring_speed": (["--passes", "5", "--rounds", "1"], ["--rounds", "7"]),
    "scene_scoring": (["--size", "3072", "--passes", "2", "--rounds", "1"], ["--size", "5120", "--rounds", "2"]),
    "ranking_agreement": (["--short"], []),
    "catalog_scale": (["--patches", "100000", "--databases", "sqlite", "--repeats", "1"], []),
    "webhook_latency": (["--events", "300"], []),
    "label_events": (["--events", "60", "--repeats", "1", "--minutes", "0.2"], ["--minutes", "5"]),
    "stroke_latency": (["--repeats", "1"], []),
    "reconciliation": (["--tasks", "2000", "--annotated", "1000", "--changed", "10", "--repeats", "1"], []),
    "serving": (["--seconds", "1"], []),
    "fine_tune_speed": (["--sizes", "64", "256", "--rounds", "1", "--seeds", "1"], ["--rounds", "5", "--seeds", "8"]),
    "fine_tune_latency": (["--versions", "3", "--steps", "50"], ["--versions", "6"]),
    "label_efficiency": (
        ["--seeds", "1", "--regions", "rare-ice", "everest-west", "--chosen-rounds", "1", "--steps", "50"],
        ["--seeds", "4", "--processes", "2"],
    ),
    "gate_rounds": (["--seeds", "1", "--rounds", "3"], ["--seeds", "4", "--grid"]),
    "gate_under_attack": (["--seeds", "1", "--chains", "1"], []),
    "training_levers": (["--seeds", "1", "--regions", "everest-west"], ["--seeds", "4"]),
    "prior_outlines": (["--seeds", "1", "--arms", "none", "poor", "--regions", "synthetic 1"], ["--seeds", "4"]),
    "parts": (["--seeds", "1", "--rounds", "1", "--steps", "20", "--passes", "2"], []),
    "idle_cost": (["--seconds", "10"], []),
    "large_scene": (["--height", "1024", "--width", "1024"], []),
    "reflectance_reading": (["--height", "1024", "--width", "1024", "--rounds", "3"], []),
    "map_tiles": (["--side", "1024", "--rounds", "2"], []),
    "map_panning": (["--times", "1"], []),
    "demo_seeds": (["--seeds", "1"], ["--seeds", "5"]),
    "area_intervals": (
        ["--side", "512", "--scenes", "1", "--steps", "50"],
        ["--side", "1024", "--scenes", "3", "--steps", "250"],
    ),
}


def main() -> None:
    """Run the named benchmarks, or all; fail at the end if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--long", action="store_true", help="as published; resumes a stopped run")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"found {', '.join(sorted(unknown))}; expected some of {', '.join(BENCHMARKS)}")
    folder = BENCH / "long" if given.long else BENCH
    failed = []
    for name in given.names or BENCHMARKS:
        arguments = BENCHMARKS[name][given.long]
        if given.long and is_done(folder, name, arguments):
            print(f"== {name}: done already", flush=True)
        elif not run(folder, name, arguments):
            failed.append(name)
    gather(folder)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run(folder: Path, name: str, arguments: Sequence[str]) -> bool:
    """Run a benchmark and return whether it succeeded; an older result in the folder is removed first."""
    print(f"== {name}", flush=True)
    (folder / f"{name}.json").unlink(missing_ok=True)
    started = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, env={**os.environ, FOLDER_VARIABLE: str(folder)}, check=False)
    print(f"== {name}: {time.monotonic() - started:.0f} s\n", flush=True)
    return done.returncode == 0


def gather(folder: Path) -> None:
    """Write all results of a folder into one file, and draw them."""
    found = [result for name in BENCHMARKS if (result := read(folder / f"{name}.json")) is not None]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw(found, folder)
    print(f"{folder / 'report.json'}: {len(found)} of {len(BENCHMARKS)} benchmarks")


def is_done(folder: Path, name: str, arguments: Sequence[str]) -> bool:
    """Return whether this commit finished a benchmark completely, with these arguments."""
    result = read(folder / f"{name}.json")
    if result is None or result["conditions"].get("left out"):
        return False
    return bool(result["command"][3:] == list(arguments) and is_of_this_code(result["code_version"]))


if __name__ == "__main__":
    main()
