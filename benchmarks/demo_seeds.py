"""Does the demonstration tell the same story with another seed? What each part gave, seed by seed and over all.

``python -m benchmarks.demo_seeds [--seeds N]``

Runs ``glacier-al demo`` with each seed, one after the other, in a folder of its own below ``var/bench/demo``; a seed
whose report is there is not run again. The seed decides the old outlines, the choices, the weights and the training.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.report import BENCH, Result, markdown, publish
from services import estimates

FOLDER: Final = BENCH / "demo"
OUTCOMES: Final = ("pays", "cannot be told", "no difference", "costs")


def report_of(seed: int) -> Mapping[str, Any]:
    """Return the report of the demonstration with a seed, which is run if there is none."""
    var = (FOLDER / str(seed)).absolute()
    file = var / "demo" / "report.json"
    if not file.exists():
        var.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "cli.main", "demo", "--seed", str(seed)]
        subprocess.run(command, env={**os.environ, "GLACIER_AL_VAR_DIR": str(var)}, check=True)
    report: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def curve_rows(reports: Mapping[int, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return mean IoU on test ground after each round, of the learner and of what is served at last."""
    rows = []
    for seed, report in reports.items():
        rounds = report["rounds"]
        of_version = {item["version"]: item["iou"]["test"]["mean"] for item in rounds}
        row: dict[str, object] = {"seed": seed}
        row |= {f"{item['labels']} labels": round(of_version[item["version"]], 3) for item in rounds}
        row["served at last"] = round(of_version[rounds[-1]["champion"]], 3)
        row["promoted"] = f"{sum(item['gate']['promoted'] for item in rounds)} of {len(rounds)}"
        rows.append(row | {"seconds": round(report["seconds"])})
    return rows


def lever_rows(reports: Mapping[int, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return what each part gave: the mean over seeds with its interval by Student's t, and each seed with its own."""
    rows = []
    first = next(iter(reports.values()))
    for place, lever in enumerate(first["levers"]):
        found = [report["levers"][place] for report in reports.values()]
        values = [item["value"] for item in found if item["value"] is not None]
        form = "{:+.3f}" if lever["unit"] == "mean IoU" else "{:+.0f}"
        row: dict[str, object] = {"part": lever["name"], "unit": lever["unit"], "over seeds": _interval(values, form)}
        row[" / ".join(OUTCOMES)] = " / ".join(str(sum(item["outcome"] == name for item in found)) for name in OUTCOMES)
        rows.append(row | {f"seed {seed}": _own(item, form) for seed, item in zip(reports, found, strict=True)})
    return rows


def _interval(values: Sequence[float], form: str) -> str:
    found = estimates.mean(values)
    if found is None or found.low is None or found.high is None:
        return "–" if found is None else form.format(found.value)
    return f"{form.format(found.value)} [{form.format(found.low)}, {form.format(found.high)}]"


def _own(lever: Mapping[str, Any], form: str) -> str:
    if lever["value"] is None:
        return "–"
    if lever["low"] is None:
        return form.format(lever["value"])
    return f"{form.format(lever['value'])} [{form.format(lever['low'])}, {form.format(lever['high'])}]"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=5)
    return made


def main() -> None:
    """Run what is missing, print both tables, write the report."""
    given = parser().parse_args()
    reports = {seed: report_of(seed) for seed in range(given.seeds)}
    curves, levers = curve_rows(reports), lever_rows(reports)
    print(markdown(curves), markdown(levers), sep="\n\n")
    machine = next(iter(reports.values()))["machine"]
    seconds = statistics.median(report["seconds"] for report in reports.values())
    publish(Result("demo_seeds", levers, seeds=range(given.seeds), conditions={**machine, "median_seconds": seconds}))


if __name__ == "__main__":
    main()
