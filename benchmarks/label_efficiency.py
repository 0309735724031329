"""Does choosing patches pay? Strategies over regions and seeds, by labels and by what annotators change.

``python -m benchmarks.label_efficiency [--regions NAME ...] [--seeds N] [--strategies NAME ...] [--processes N]
[--minutes M] [--out FILE] [--merge FILE ...]``

**Primary figure**, fixed before anything was run: the difference of mean IoU (of the learner, on the test part) at
equal edited pixels, averaged over the chosen rounds (`benchmarks.label_figures.at_equal_effort`), of each strategy
against `foreground_random` ("ice-first random") and against `random`. Two hypotheses a strategy: it is not worse than
ice-first random by `MARGIN` = 0.02 or more, and it is better than plain random. One-sided p-values come from a
hierarchical bootstrap (places, then their regions, then seeds) and are corrected by Holm's procedure over all
hypotheses. All else is secondary: differences at equal labels round by round, the served version, areas, effort to 90 %
of the ceiling, groups of regions.

A *cell* is a strategy on a region with a seed. Strategies of one region and seed share the start (labels, weights), and
differ afterwards. Each finished cell is a JSON file in ``var/bench/label_efficiency``: an interrupted run resumes.
``--out`` writes all cells into one file, which ``--merge`` on another machine adds to its own. With ``--minutes`` a run
stops in time, and loses only cells that are not finished.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.label_figures import (
    MARGIN,
    Cells,
    Difference,
    Effort,
    at_equal_effort,
    complete,
    effort_ratios,
    holm,
    in_round,
    mean_curve,
    over_places,
    paired,
)
from benchmarks.learning_loop import EVERY_PATCH, Loop, LoopConfig, as_cell
from benchmarks.regions import CACHE, SPECS, load
from benchmarks.report import BENCH, Result, markdown, publish

RANDOM: Final = "random"
ICE_FIRST: Final = "foreground_random"
STRATEGIES: Final = (RANDOM, ICE_FIRST, "class_power_entropy", "entropy_top10")
FOLDER: Final = BENCH / "label_efficiency"
GROUPS: Final = (None, "everest", "semi-real", "synthetic")
EFFORTS: Final[dict[Effort, str]] = {"edited_pixels": "pixels", "edited_areas": "areas", "labels": "labels"}


@dataclass(frozen=True)
class Unit:
    """What one process works on: all strategies that are missing of a region and seed."""

    region: str
    seed: int
    strategies: tuple[str, ...]


def missing(folder: Path, config: LoopConfig, regions: Sequence[str], seeds: int, names: Sequence[str]) -> list[Unit]:
    """Return what is not done, all regions with the first seed before the second."""
    done = read(folder, config)
    units = []
    for seed in range(seeds):
        for region in regions:
            left = tuple(name for name in names if (region, name, seed) not in done)
            if left:
                units.append(Unit(region, seed, left))
    return units


def run_unit(folder: Path, regions: Path, config: LoopConfig, unit: Unit) -> float:
    """Run the strategies of a unit and store each cell; return the seconds that it took."""
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    region = load(unit.region, regions)
    loop = Loop(region, unit.seed, config)
    for name in unit.strategies:
        cell = as_cell(region, name, unit.seed, config, loop.run(name))
        file = folder / f"{unit.region}.{name}.{unit.seed}.json"
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(cell, allow_nan=False) + "\n", encoding="utf-8")
        unfinished.replace(file)
    return time.monotonic() - started


def run(units: Sequence[Unit], work: Callable[[Unit], float], processes: int, minutes: float | None) -> None:
    """Run units in processes of their own; processes that are not done in time are ended."""
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    # A fresh interpreter for each process: torch's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.imap_unordered(work, units)
        for number in range(1, len(units) + 1):
            try:
                seconds = results.next(None if end is None else max(0.0, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                print(f"out of time with {number - 1} of {len(units)} units", flush=True)
                return  # leaving the block ends the processes
            print(f"{number} of {len(units)} units; the last took {seconds:.0f} s", flush=True)


def read(folder: Path, config: LoopConfig) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """Return the rounds of all stored cells of this configuration, by region, strategy and seed."""
    cells = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json")))
    return {
        (cell["region"], cell["strategy"], cell["seed"]): cell["rounds"]
        for cell in cells
        if cell["config"] == asdict(config)
    }


def merge(folder: Path, file: Path) -> int:
    """Add the cells of a file that ``--out`` wrote to a folder; return their number."""
    cells = json.loads(file.read_text(encoding="utf-8"))
    for cell in cells:
        name = f"{cell['region']}.{cell['strategy']}.{cell['seed']}.json"
        (folder / name).write_text(json.dumps(cell, allow_nan=False) + "\n", encoding="utf-8")
    return len(cells)


def primary_table(cells: Cells, names: Sequence[str], start_rounds: int) -> list[dict[str, object]]:
    """Return the primary figure of each strategy that is compared, with p-values after Holm's correction."""
    differences: dict[tuple[str, str], Difference] = {}
    p_values: dict[str, float] = {}
    for name in names:
        for other, bound in ((ICE_FIRST, -MARGIN), (RANDOM, 0.0)):
            compare = partial(at_equal_effort, start_rounds=start_rounds)
            found = over_places(paired(cells, name, other, compare)) if name != other else None
            if found is not None:
                differences[name, other] = found
                p_values[f"{name} {other}"] = found.p_above(bound)
    adjusted = holm(p_values)
    rows = []
    for name in names:
        row: dict[str, object] = {"strategy": name}
        for other, title in ((ICE_FIRST, "ice-first random"), (RANDOM, "random")):
            difference = differences.get((name, other))
            row[f"minus {title}"] = "—" if difference is None else str(difference)
            question = "p, not worse by .02" if other == ICE_FIRST else "p, better"
            row[question] = "—" if difference is None else f"{adjusted[f'{name} {other}']:.3f}"
            row[f"spread over {title}"] = "—" if difference is None else f"{difference.spread:.3f}"
        rows.append(row)
    return rows


def round_table(cells: Cells, names: Sequence[str], other: str, config: LoopConfig) -> list[dict[str, object]]:
    """Return the differences at equal labels after each chosen round, of the learner, and of what is served at last."""
    last = config.start_rounds + config.chosen_rounds - 1
    rows = []
    for name in names:
        row: dict[str, object] = {f"minus {other}": name}
        for number in range(config.start_rounds, last + 1):
            found = over_places(paired(cells, name, other, in_round(number)))
            row[f"{(number + 1) * config.round_size} labels"] = str(found or "—")
        served = over_places(paired(cells, name, other, in_round(last, "served_mean_iou")))
        row["served at last"] = str(served or "—")
        rows.append(row)
    return rows


def group_table(cells: Cells, names: Sequence[str], start_rounds: int) -> list[dict[str, object]]:
    """Return differences from plain random by group of regions: at equal pixels, equal areas, and equal labels."""
    rows = []
    for group in GROUPS:
        for name in names:
            row: dict[str, object] = {"group": group or "all", "minus random": name}
            for effort, title in EFFORTS.items():
                compare = partial(at_equal_effort, start_rounds=start_rounds, effort=effort)
                found = over_places(paired(cells, name, RANDOM, compare, group))
                row[f"equal {title}"] = str(found or "—")
            row["pairs"] = found.pairs if found is not None else 0
            rows.append(row)
    return rows


def effort_table(cells: Cells, names: Sequence[str]) -> list[dict[str, object]]:
    """Return the edited pixels to 90 % of the ceiling in proportion to plain random."""
    rows: list[dict[str, object]] = []
    for name in names:
        ratios, reached, by_random, pairs = effort_ratios(cells, name, RANDOM, EVERY_PATCH)
        median = f"{statistics.median(ratios):.2f}" if ratios else "—"
        rows.append(
            {
                "strategy": name,
                "reached in": f"{reached} of {pairs}",
                "by random in": f"{by_random} of {pairs}",
                "median effort over random's, where both do": median,
            }
        )
    return rows


def curve_table(cells: Cells, names: Sequence[str]) -> list[dict[str, object]]:
    """Return mean IoU after each round, and the edits until then, over regions and seeds that have all strategies."""
    same = complete(cells, names)
    rows = []
    for name in names:
        labels = mean_curve(same, name, "labels")
        iou = mean_curve(same, name, "learner_mean_iou")
        row: dict[str, object] = {"strategy": name}
        row |= {f"{count:.0f}": f"{value:.3f}" for count, value in zip(labels, iou, strict=True)}
        for field, title in (("served_mean_iou", "served"), ("edited_pixels", "pixels"), ("edited_areas", "areas")):
            curve = mean_curve(same, name, field)
            row[title] = (f"{curve[-1]:.3f}" if field == "served_mean_iou" else f"{curve[-1]:.0f}") if curve else "—"
        rows.append(row)
    return rows


def tables(cells: Cells, names: Sequence[str], config: LoopConfig) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield the title and the rows of each table."""
    compared = [name for name in names if name != RANDOM]
    yield "Primary figure: mean IoU at equal edited pixels", primary_table(cells, compared, config.start_rounds)
    yield "At equal labels", round_table(cells, [n for n in compared if n != ICE_FIRST], ICE_FIRST, config)
    yield "By group", group_table(cells, compared, config.start_rounds)
    yield "Edited pixels to 90 % of the ceiling", effort_table(cells, compared)
    yield "Curves", curve_table(cells, names)


def draw(cells: Cells, names: Sequence[str], file: Path) -> None:
    """Draw mean IoU over labels and over edited pixels, of learner and served version."""
    from matplotlib.figure import Figure

    same = complete(cells, [*names, EVERY_PATCH]) or complete(cells, names)
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, effort, title in zip(axes, ("labels", "edited_pixels"), ("labels", "edited pixels"), strict=True):
        for name in names:
            spent = mean_curve(same, name, effort)
            (line,) = axis.plot(spent, mean_curve(same, name, "learner_mean_iou"), marker="o", label=name)
            axis.plot(spent, mean_curve(same, name, "served_mean_iou"), linestyle="dotted", color=line.get_color())
        if ceiling := mean_curve(same, EVERY_PATCH, "learner_mean_iou"):
            axis.axhline(ceiling[0], color="#94a3b8", linestyle="dashed", label="every patch")
        axis.set_xlabel(title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean IoU on test; dotted: served")
    axes[0].legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--regions", nargs="+", default=list(SPECS), choices=list(SPECS), metavar="NAME")
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="NAME")
    made.add_argument("--chosen-rounds", type=int, default=LoopConfig.chosen_rounds)
    made.add_argument("--steps", type=int, default=LoopConfig.steps, help="training steps of a round")
    made.add_argument("--processes", type=int, default=1)
    made.add_argument("--minutes", type=float, help="stop in time")
    made.add_argument("--folder", type=Path, default=FOLDER, help="where the cells are kept")
    made.add_argument("--region-folder", type=Path, default=CACHE, help="where regions are kept that were made")
    made.add_argument("--out", type=Path, help="write all cells into this file")
    made.add_argument("--merge", type=Path, nargs="+", default=[], help="add the cells of files that --out wrote")
    made.add_argument("--picture", type=Path, default=BENCH / "label-efficiency.png", help="the curves")
    made.add_argument("--tables-only", action="store_true", help="run nothing")
    return made


def main() -> None:
    """Run what is missing, print the tables, write the report."""
    given = parser().parse_args()
    config = LoopConfig(chosen_rounds=given.chosen_rounds, steps=given.steps)
    given.folder.mkdir(parents=True, exist_ok=True)
    for file in given.merge:
        print(f"{file}: {merge(given.folder, file)} cells")
    started = time.monotonic()
    if not given.tables_only:
        names = [*given.strategies, EVERY_PATCH]
        units = missing(given.folder, config, given.regions, given.seeds, names)
        run(units, partial(run_unit, given.folder, given.region_folder, config), given.processes, given.minutes)
    if given.out is not None:
        files = sorted(given.folder.glob("*.json"))
        given.out.write_text(f"[{','.join(file.read_text(encoding='utf-8') for file in files)}]\n", encoding="utf-8")
        return
    cells = {key: rounds for key, rounds in read(given.folder, config).items() if key[2] < given.seeds}
    report = []
    for title, rows in tables(cells, given.strategies, config):
        print(f"\n**{title}**\n\n{markdown(rows)}")
        report += [{"table": title, **row} for row in rows]
    draw(cells, given.strategies, given.picture)
    seconds = round(time.monotonic() - started)
    conditions = {"cells": len(cells), "regions": sorted({key[0] for key in cells}), "seconds": seconds}
    publish(Result("label_efficiency", report, seeds=range(given.seeds), conditions={**conditions, **asdict(config)}))


if __name__ == "__main__":
    main()
