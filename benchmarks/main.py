"""Run the benchmarks and gather what they found: ``python -m benchmarks.main [--long] [NAME ...]``.

The short form ends within a quarter of an hour on two cores. The long form is what docs/benchmarks.md publishes; it may
be stopped and called again: a benchmark that this code has finished with the same arguments is not run again. Each runs
in a process of its own and leaves ``var/bench/NAME.json``; ``var/bench/report.json`` holds them all.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Final

from benchmarks.plots import draw
from benchmarks.report import BENCH
from workers.code_version import code_version

# Arguments of the short form, and of the long form.
BENCHMARKS: Final[dict[str, tuple[list[str], list[str]]]] = {
    "scoring_speed": (["--rounds", "2"], ["--rounds", "7"]),
    "scene_scoring": (["--size", "1536", "--rounds", "1"], ["--size", "2048", "--rounds", "5"]),
    "ranking_agreement": (["--short"], ["--resume"]),
    "catalog_scale": (["--patches", "100000", "--databases", "sqlite"], []),
    "fine_tune_speed": (["--sizes", "64", "256", "--rounds", "2", "--seeds", "1"], ["--rounds", "5", "--seeds", "8"]),
    "fine_tune_latency": (["--versions", "3", "--steps", "50"], ["--versions", "6"]),
    "label_efficiency": (["--seeds", "1", "--rounds", "3"], ["--seeds", "5"]),
    "idle_cost": (["--seconds", "20"], []),
    "large_scene": (["--height", "1024", "--width", "1024"], []),
}


def main() -> None:
    """Run those asked for, or all; fail at the end if one of them did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--long", action="store_true", help="as published; resumes what was stopped")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"found {', '.join(sorted(unknown))}; expected some of {', '.join(BENCHMARKS)}")
    failed = []
    for name in given.names or BENCHMARKS:
        arguments = BENCHMARKS[name][given.long]
        if given.long and _is_done(name, arguments):
            print(f"== {name}: done already", flush=True)
            continue
        print(f"== {name}", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - started:.0f} s\n", flush=True)
    gather()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def gather() -> None:
    """Put all results into one file, and draw them."""
    found = [json.loads(file.read_text()) for name in BENCHMARKS if (file := BENCH / f"{name}.json").exists()]
    (BENCH / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, BENCH)
    print(f"{BENCH / 'report.json'}: {len(found)} of {len(BENCHMARKS)} benchmarks")


def _is_done(name: str, arguments: list[str]) -> bool:
    """Tell whether this very code has finished it with these arguments."""
    file = BENCH / f"{name}.json"
    if not file.exists():
        return False
    result = json.loads(file.read_text())
    return bool(result["command"][3:] == arguments and result["code_version"] == code_version())


if __name__ == "__main__":
    main()
