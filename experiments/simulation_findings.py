"""The findings of a simulation: tables of mean IoU by labels and by effort, differences to random, and the curves."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

from experiments.cells import Cells
from experiments.curve_figure import curves
from experiments.effort_curves import Effort, Rounds, Track, at_equal_effort, mean_curve
from experiments.estimates import Estimate
from experiments.findings import Findings, Row, Table, Value
from experiments.learner import LoopConfig
from experiments.learning_loop import EVERY_PATCH
from experiments.simulation import Simulation

RANDOM: Final = "random"
TRACKS: Final[Mapping[Track, str]] = {"learner_mean_iou": "learner", "served_mean_iou": "served version"}
_CONFIDENCE: Final = 0.95


def findings_of(simulation: Simulation, cells: Cells) -> Findings:
    """Return what all cells of a simulation say."""
    names, config = simulation.strategies, simulation.config
    effort: Effort = "drawn_pixels" if config.annotator == "strokes" else "edited_pixels"
    tables = [_differences(cells, names, config, effort)] if RANDOM in names and len(names) > 1 else []
    tables += [_by_labels(cells, names, track) for track in TRACKS]
    tables += [_by_effort(cells, names, track, effort) for track in TRACKS]
    tables.append(_effort(cells, names, effort))
    return Findings(
        experiment="simulation",
        question="What would each strategy have given on this ground, by labels and by what annotators do?",
        tables=tuple(table for table in tables if table.columns),
        notes=_notes(simulation, cells, effort),
        figure=curves(cells, names, EVERY_PATCH, effort),
        divisions={},
    )


def over_seeds(values: Sequence[float], interval: bool = True) -> Estimate:
    """Return the mean over seeds, its standard deviation, and a 95 % interval by Student's t."""
    mean, spread, half = statistics.mean(values), float("nan"), float("nan")
    if len(values) > 1:
        spread = statistics.stdev(values)
        if interval:
            half = float(student.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)) * spread / len(values) ** 0.5
    return Estimate(mean, spread, mean - half, mean + half)


def _differences(cells: Cells, names: Sequence[str], config: LoopConfig, effort: Effort) -> Table:
    """Return paired differences to plain random, averaged over the chosen rounds."""
    rows = []
    for name in names:
        values: dict[str, Value] = {}
        for spent in ("labels", effort):
            for track, of_track in TRACKS.items():
                compare = partial(at_equal_effort, start_rounds=config.start_rounds, effort=spent, track=track)
                found = _paired(cells, name, compare)
                values[f"{of_track}, at equal {_words(spent)}"] = over_seeds(found) if found else None
        rows += [Row(name, values)] if name != RANDOM else []
    return Table("Mean IoU less that of random", "strategy", tuple(rows))


def _paired(cells: Cells, name: str, compare: Callable[[Rounds, Rounds], float | None]) -> list[float]:
    found = [compare(_run(cells, name, seed), _run(cells, RANDOM, seed)) for seed in _seeds(cells, name)]
    return [difference for difference in found if difference is not None]


def _by_labels(cells: Cells, names: Sequence[str], track: Track) -> Table:
    rows = []
    for name in names:
        labels = mean_curve(cells, name, "labels")
        values: dict[str, Value] = {
            f"{count:.0f} labels": over_seeds([run[number][track] for run in _runs(cells, name)], interval=False)
            for number, count in enumerate(labels)
        }
        rows.append(Row(name, values))
    return Table(f"Mean IoU of the {TRACKS[track]}, by labels", "strategy", tuple(rows))


def _by_effort(cells: Cells, names: Sequence[str], track: Track, effort: Effort) -> Table:
    """Interpolate between rounds, at efforts that every run has reached."""
    runs = [run for name in names for run in _runs(cells, name)]
    first, last = max(run[0][effort] for run in runs), min(run[-1][effort] for run in runs)
    budgets: list[float] = np.linspace(first, last, len(runs[0])).tolist() if last > first else []
    rows = []
    for name in names:
        values: dict[str, Value] = {
            f"{budget:,.0f}": over_seeds(
                [_at(run, budget, track, effort) for run in _runs(cells, name)], interval=False
            )
            for budget in budgets
        }
        rows.append(Row(name, values))
    return Table(f"Mean IoU of the {TRACKS[track]}, by {_words(effort)}", "strategy", tuple(rows))


def _effort(cells: Cells, names: Sequence[str], effort: Effort) -> Table:
    rows = []
    for name in names:
        values: dict[str, Value] = {
            f"{count:.0f} labels": f"{spent:,.0f}"
            for count, spent in zip(mean_curve(cells, name, "labels"), mean_curve(cells, name, effort), strict=True)
        }
        rows.append(Row(name, values))
    return Table(f"{_words(effort).capitalize()} so far, mean over the seeds", "strategy", tuple(rows))


def _notes(simulation: Simulation, cells: Cells, effort: Effort) -> tuple[str, ...]:
    seeds, region, config = simulation.seeds, simulation.region, simulation.config
    ceiling = over_seeds([run[0]["learner_mean_iou"] for run in _runs(cells, EVERY_PATCH)])
    spread = "" if seeds == 1 else f" ± {ceiling.spread:.3f}"
    notes = [
        f"Values are means over {seeds} seeds ± their standard deviation. Strategies share the first "
        f"{config.start_rounds} rounds of a seed, which are drawn at random.",
        f"Differences are of the same seeds, averaged over the chosen rounds, or over as many equal steps of "
        f"{_words(effort)}; in brackets are 95 % intervals by Student's t over the seeds. They say what other first "
        "labels and other initial weights would give on this ground, and nothing about other ground; the test region "
        "is taken as it is.",
        f"A network that learns all {len(region.masks('pool'))} patches of the pool reaches a mean IoU of "
        f"{ceiling.value:.3f}{spread}.",
        "The annotator is a program that draws the outlines"
        + (
            " with strokes that repaint what looks alike, until 97 % of a patch is right."
            if config.annotator == "strokes"
            else " exactly. Edited pixels are those that differ from what the annotator started from: the learner's "
            "map where it beats an empty mask, else an empty mask."
        ),
    ]
    if seeds == 1:
        notes.append("One seed has neither a spread nor an interval: a difference may be chance.")
    return tuple(notes)


def _runs(cells: Cells, name: str) -> list[Sequence[Mapping[str, Any]]]:
    return [_run(cells, name, seed) for seed in _seeds(cells, name)]


def _run(cells: Cells, name: str, seed: int) -> Rounds:
    (rounds,) = (rounds for (_, strategy, number), rounds in cells.items() if (strategy, number) == (name, seed))
    return rounds


def _seeds(cells: Cells, name: str) -> list[int]:
    return sorted(seed for _, strategy, seed in cells if strategy == name)


def _at(run: Rounds, budget: float, track: Track, effort: Effort) -> float:
    return float(np.interp(budget, [each[effort] for each in run], [each[track] for each in run]))


def _words(effort: Effort) -> str:
    return effort.replace("_", " ")
