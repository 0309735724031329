"""Does choosing patches pay? Strategies over regions and seeds, by labels and by what annotators change.

``python -m benchmarks.label_efficiency [--regions NAME ...] [--seeds N] [--strategies NAME ...] [--annotators NAME ...]
[--processes N] [--minutes M] [--out FILE] [--merge FILE ...]``

**Primary figure**, fixed before anything was run: the difference of mean IoU (of the learner, on the test part) at
equal edited pixels, averaged over the chosen rounds (`experiments.effort_curves.at_equal_effort`), of each strategy
against `foreground_random` ("ice-first random") and against `random`. Two hypotheses a strategy: it is not worse than
ice-first random by `MARGIN` = 0.02 or more, and it is better than plain random. One-sided p-values come from a
hierarchical bootstrap (places, then their regions, then seeds) and are corrected by Holm's procedure over all
hypotheses. All else is secondary: differences at equal labels round by round, the served version, areas, effort to 90 %
of the ceiling, groups of regions.

With ``--annotators strokes`` the annotator mends by strokes (`experiments.patch_annotator`). The figure fixed for them
before they were run: drawn pixels to 90 % of the ceiling with ``class_power_entropy`` and strokes, over those with
``random`` and the brush; the aim is 0.6.

A *cell* is a strategy on a region with a seed. Strategies of one region and seed share the start (labels, weights), and
differ afterwards. Each finished cell is a JSON file in ``var/bench/label_efficiency``: an interrupted run resumes.
``--out`` writes all cells into one file, which ``--merge`` on another machine adds to its own. With ``--minutes`` a run
stops in time, and loses only cells that are not finished.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from benchmarks.label_figures import MARGIN, Difference, complete, effort_ratios, holm, over_places, paired
from benchmarks.regions import CACHE, SPECS, load
from benchmarks.report import BENCH, Result, markdown, publish
from experiments.cells import Cells, Key, Unit, keep, missing, read, run, run_unit
from experiments.curve_figure import curves
from experiments.effort_curves import Effort, at_equal_effort, in_round, mean_curve
from experiments.learner import LoopConfig
from experiments.learning_loop import EVERY_PATCH
from experiments.region import Region
from services.experiment_options import Annotator

RANDOM: Final = "random"
ICE_FIRST: Final = "foreground_random"
STRATEGIES: Final = (RANDOM, ICE_FIRST, "class_power_entropy", "entropy_top10")
FOLDER: Final = BENCH / "label_efficiency"
GROUPS: Final = (None, "everest", "semi-real", "synthetic")
STROKE_COSTS_PX: Final = 25
"""Pixels that a stroke costs besides those drawn, in a second form of the effort: the longest that one draws."""
STROKES: Final = " with strokes"
"""After the name of a strategy whose annotator mends by strokes; without it, by the brush."""
EFFORTS: Final[dict[Effort, str]] = {"edited_pixels": "pixels", "edited_areas": "areas", "labels": "labels"}


def merge(folder: Path, file: Path) -> int:
    """Add the cells of a file that ``--out`` wrote to a folder; return their number.

    Cells of before there were strokes are those of the brush.
    """
    cells = json.loads(file.read_text(encoding="utf-8"))
    for cell in cells:
        cell["config"] = {"annotator": "brush", **cell["config"]}
        cell["rounds"] = [
            {"drawn_pixels": each["edited_pixels"], "strokes": each["edited_areas"], **each} for each in cell["rounds"]
        ]
        keep(folder, cell)
    return len(cells)


def read_all(folder: Path, config: LoopConfig) -> dict[Key, list[dict[str, Any]]]:
    """Return the stored cells of all annotators; `STROKES` ends the names of strategies with strokes."""
    cells = read(folder, replace(config, annotator="brush"))
    strokes = read(folder, replace(config, annotator="strokes"))
    return cells | {(region, f"{name}{STROKES}", seed): rounds for (region, name, seed), rounds in strokes.items()}


def load_from(folder: Path, name: str) -> Region:
    """Return a region by its name."""
    return load(name, folder)


def tell(unit: Unit, status: int | None) -> None:
    """Print how a unit ended."""
    ended = "not done in time" if status is None else f"exit status {status}"
    print(f"{unit.region}, seed {unit.seed}: {ended}", flush=True)


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
    """Return the effort to 90 % of the ceiling in proportion to plain random with the brush."""
    weighted = {
        key: [{**each, "drawn_pixels": each["drawn_pixels"] + STROKE_COSTS_PX * each["strokes"]} for each in rounds]
        for key, rounds in cells.items()
    }
    columns: tuple[tuple[str, Cells, Effort], ...] = (
        ("drawn pixels", cells, "drawn_pixels"),
        (f"drawn pixels, and {STROKE_COSTS_PX} a stroke", weighted, "drawn_pixels"),
        ("strokes", cells, "strokes"),
    )
    rows: list[dict[str, object]] = []
    for name in names:
        row: dict[str, object] = {"strategy": name}
        for title, of_cells, effort in columns:
            found = effort_ratios(of_cells, name, RANDOM, EVERY_PATCH, effort)
            both, pairs = over_places(found.logs), len(found.bounds)
            row |= {"reached in": f"{found.reached} of {pairs}", "by random in": f"{found.reached_by_them} of {pairs}"}
            ends = [] if both is None else [math.exp(end) for end in (both.mean, both.low, both.high)]
            row[title] = "—" if not ends else "{:.2f} [{:.2f}, {:.2f}]".format(*ends)
            row[f"{title}, median of all"] = f"{statistics.median(found.bounds):.2f}" if pairs else "—"
        rows.append(row)
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
        for field in ("served_mean_iou", "edited_pixels", "drawn_pixels", "strokes"):
            curve, form = mean_curve(same, name, field), ".3f" if field == "served_mean_iou" else ".0f"
            row[field.replace("_", " ")] = f"{curve[-1]:{form}}" if curve else "—"
        rows.append(row)
    return rows


def tables(cells: Cells, names: Sequence[str], config: LoopConfig) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield the title and the rows of each table."""
    compared = [name for name in names if name != RANDOM]
    yield "Primary figure: mean IoU at equal edited pixels", primary_table(cells, compared, config.start_rounds)
    yield "At equal labels", round_table(cells, [n for n in compared if n != ICE_FIRST], ICE_FIRST, config)
    yield "By group", group_table(cells, compared, config.start_rounds)
    with_strokes = [f"{name}{STROKES}" for name in names if any(key[1] == f"{name}{STROKES}" for key in cells)]
    yield "Effort to 90 % of the ceiling, over random with the brush", effort_table(cells, [*compared, *with_strokes])
    if with_strokes:
        yield "Curves with strokes", curve_table(cells, [RANDOM, *with_strokes])
    yield "Curves", curve_table(cells, names)


def draw(cells: Cells, names: Sequence[str], file: Path) -> None:
    """Draw mean IoU over labels and over edited pixels, over regions and seeds that have all strategies."""
    same = complete(cells, [*names, EVERY_PATCH]) or complete(cells, names)
    file.parent.mkdir(parents=True, exist_ok=True)
    curves(same, names, EVERY_PATCH, "edited_pixels").savefig(file, dpi=120)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--regions", nargs="+", default=list(SPECS), choices=list(SPECS), metavar="NAME")
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="NAME")
    made.add_argument("--annotators", nargs="+", default=["brush"], choices=get_args(Annotator), help="how to draw")
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
    configs = [replace(config, annotator=annotator) for annotator in given.annotators]
    for each in [] if given.tables_only else configs:
        names = [*given.strategies, *([EVERY_PATCH] if each.annotator == "brush" else [])]  # it draws exactly
        units = missing(read(given.folder, each), given.regions, given.seeds, names)
        work = partial(run_unit, given.folder, partial(load_from, given.region_folder), each)
        failed = run(units, work, given.processes, given.minutes, tell)
        print(f"{len(failed)} units failed" if failed else "no unit failed", flush=True)
    if given.out is not None:
        files = sorted(given.folder.glob("*.json"))
        given.out.write_text(f"[{','.join(file.read_text(encoding='utf-8') for file in files)}]\n", encoding="utf-8")
        return
    cells = {key: rounds for key, rounds in read_all(given.folder, config).items() if key[2] < given.seeds}
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
