"""How long do old outlines help beside labels, and do the first rounds have to be random after them?

``python -m benchmarks.labels_beside_outlines [--seeds N] [--processes N] [--regions NAME ...] [--minutes M]``

The simulated loop (`experiments.learning_loop`) on the regions of `benchmarks.regions`, its first version from old
outlines alone (`experiments.old_outlines`), each version going on from the one before. Two questions, the figures
fixed before anything was run:

- *Share*: rounds of 12 random patches, with a constant share of the training patches drawn from old outlines; the same
  labels in all arms. Mean IoU of the learner on the test part by number of labels, against a share of one half. Where
  smaller shares begin to win, the share should have fallen.
- *Start*: rounds of six; two random ones, then four of the strategy, against six of the strategy. Mean IoU averaged
  over the rounds.

A cell is an arm on a region with a seed; each is a JSON file in ``var/bench/labels_beside_outlines``, and a stopped run
goes on where it stopped. Means and intervals are over places, their regions, and seeds
(`benchmarks.label_figures.over_places`).
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.label_figures import over_places
from benchmarks.regions import CACHE, SPECS, load
from benchmarks.report import BENCH, Result, markdown, publish
from experiments.cells import Unit, run
from experiments.learner import LoopConfig
from experiments.learning_loop import Loop
from experiments.old_outlines import OldOutlines

FOLDER: Final = BENCH / "labels_beside_outlines"
STRATEGY: Final = "entropy_top10"


@dataclass(frozen=True)
class Arm:
    """What is varied.

    Attributes:
        outlines: What is known before any label; None: nothing.
        config: The rounds.
        strategy: What chooses after the random rounds at the start.
    """

    outlines: OldOutlines | None
    config: LoopConfig
    strategy: str


_RANDOM: Final = LoopConfig(round_size=12, start_rounds=1, chosen_rounds=4)
_CHOSEN: Final = LoopConfig(start_rounds=0, chosen_rounds=6)
HALF: Final = OldOutlines(share=0.5)

SHARES: Final[Mapping[str, Arm]] = {
    "share .5": Arm(HALF, _RANDOM, "random"),
    "share .25": Arm(OldOutlines(share=0.25), _RANDOM, "random"),
    "share 0": Arm(OldOutlines(share=0.0), _RANDOM, "random"),
    "no outlines": Arm(None, _RANDOM, "random"),
}
STARTS: Final[Mapping[str, Arm]] = {
    "two random rounds": Arm(HALF, replace(_CHOSEN, start_rounds=2, chosen_rounds=4), STRATEGY),
    "none": Arm(HALF, _CHOSEN, STRATEGY),
}
ARMS: Final[Mapping[str, Arm]] = {**SHARES, **STARTS}
# Without those that differ from another only in the errors of their labels, which no arm concerns.
REGIONS: Final = tuple(name for name in SPECS if not name.endswith("-noisy"))

Curve = Mapping[int, float]
"""Mean IoU of the learner by number of labels."""

Cells = Mapping[tuple[str, str, int], Curve]
"""Curves by region, arm and seed."""


def run_unit(folder: Path, regions: Path, unit: Unit) -> None:
    """Run the arms of a region and seed on one thread and store each cell."""
    torch.set_num_threads(1)
    region = load(unit.region, regions)
    for name in unit.strategies:
        arm = ARMS[name]
        rounds = Loop(region, unit.seed, arm.config, arm.outlines).run(arm.strategy)
        cell = {"region": unit.region, "arm": name, "seed": unit.seed, "recipe": _recipe(arm)}
        text = json.dumps({**cell, "rounds": [asdict(each) for each in rounds]}, allow_nan=False)
        unfinished = folder / f"{unit.region}.{name}.{unit.seed}.part"
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(unfinished.with_suffix(".json"))


def _recipe(arm: Arm) -> dict[str, Any]:
    """Return the arm as JSON gives it back."""
    recipe: dict[str, Any] = json.loads(json.dumps(asdict(arm)))
    return recipe


def read(folder: Path) -> dict[tuple[str, str, int], dict[int, float]]:
    """Return the curves of the cells that were made by the arms as they are now."""
    cells = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json")))
    return {
        (cell["region"], cell["arm"], cell["seed"]): {
            each["labels"]: each["learner_mean_iou"] for each in cell["rounds"]
        }
        for cell in cells
        if cell["arm"] in ARMS and cell["recipe"] == _recipe(ARMS[cell["arm"]])
    }


def compare(
    cells: Cells, ours: str, theirs: str, value: Callable[[Curve], float | None], base: Callable[[Curve], float | None]
) -> str:
    """Return the mean difference between a value of one arm and one of another, with its interval."""
    gains = {}
    for (region, arm, seed), curve in cells.items():
        other = cells.get((region, theirs, seed))
        if arm != ours or other is None:
            continue
        pair = value(curve), base(other)
        if pair[0] is not None and pair[1] is not None:
            gains[region, seed] = pair[0] - pair[1]
    found = over_places(gains)
    return "—" if found is None else f"{found} ({sum(gain > 0 for gain in gains.values())} of {found.pairs})"


def at(labels: int) -> Callable[[Curve], float | None]:
    """Return the function that reads a curve at a number of labels; None where it has no such point."""
    return lambda curve: curve.get(labels)


def share_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each number of labels: the mean IoU of each share, and its difference from one half."""
    rows: list[dict[str, object]] = []
    for labels in range(0, _RANDOM.labels + 1, _RANDOM.round_size):
        row: dict[str, object] = {"labels": labels}
        for arm in SHARES:
            found = over_places(
                {
                    (region, seed): curve[labels]
                    for (region, of, seed), curve in cells.items()
                    if of == arm and labels in curve
                }
            )
            row[arm] = found.mean if found else "—"
        others = [arm for arm in SHARES if arm != "share .5"]
        row |= {f"{arm} - .5": compare(cells, arm, "share .5", at(labels), at(labels)) for arm in others}
        rows.append(row)
    return rows


def saved_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each number of labels beside outlines: its mean IoU minus that of the most labels without."""
    most = _RANDOM.labels
    return [
        {
            "labels beside outlines": labels,
            **{
                f"{arm} - {most} alone": compare(cells, arm, "no outlines", at(labels), at(most))
                for arm in list(SHARES)[:3]
            },
        }
        for labels in range(_RANDOM.round_size, most + 1, _RANDOM.round_size)
    ]


def start_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each round, and one for their mean: six chosen rounds minus two random ones and four chosen."""

    def mean(curve: Curve) -> float:
        return statistics.mean(iou for labels, iou in curve.items() if labels)

    marks = range(_CHOSEN.round_size, _CHOSEN.labels + 1, _CHOSEN.round_size)
    rows = {str(labels): compare(cells, "none", "two random rounds", at(labels), at(labels)) for labels in marks}
    rows["mean over the rounds"] = compare(cells, "none", "two random rounds", mean, mean)
    return [{"labels": labels, "no random rounds - two": found} for labels, found in rows.items()]


def missing(cells: Cells, regions: Sequence[str], seeds: int) -> list[Unit]:
    """Return what is not done, all regions with the first seed before the second."""
    units = []
    for seed in range(seeds):
        for region in regions:
            left = tuple(arm for arm in ARMS if (region, arm, seed) not in cells)
            units += [Unit(region, seed, left)] if left else []
    return units


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--minutes", type=float, help="stop in time; what is not finished is left for another run")
    made.add_argument("--regions", nargs="+", choices=REGIONS, default=list(REGIONS), metavar="NAME")
    made.add_argument("--region-folder", type=Path, default=CACHE, help="where made regions are kept")
    return made


def main() -> None:
    """Run what is missing, print the tables, write the report."""
    given = parser().parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    units = missing(read(FOLDER), given.regions, given.seeds)
    failed = run(units, partial(run_unit, FOLDER, given.region_folder), given.processes, given.minutes, _tell)
    if failed:
        raise SystemExit(f"these failed: {', '.join(f'{unit.region} {unit.seed}' for unit in failed)}")
    cells = {key: curve for key, curve in read(FOLDER).items() if key[0] in given.regions and key[2] < given.seeds}
    tables = [share_rows(cells), saved_rows(cells), start_rows(cells)]
    for rows in tables:
        print(f"\n{markdown(rows)}")
    seeds = sorted({seed for _, _, seed in cells})
    conditions = {"regions": given.regions, "arms": {name: _recipe(arm) for name, arm in ARMS.items()}}
    publish(
        Result("labels_beside_outlines", [row for rows in tables for row in rows], seeds=seeds, conditions=conditions)
    )


def _tell(unit: Unit, status: int | None) -> None:
    print(f"{unit.region} {unit.seed}: {'not finished' if status is None else f'ended with {status}'}", flush=True)


if __name__ == "__main__":
    main()
