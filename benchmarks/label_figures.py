"""What the cells of `benchmarks.label_efficiency` say: differences at equal effort, with intervals over places.

A cell is the result of one strategy on one region with one seed. Strategies are compared within a region and seed,
where they share the labels of the start and the initial weights.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.regions import SPECS

RESAMPLES: Final = 10_000
MARGIN: Final = 0.02
CEILING_SHARE: Final = 0.9
Effort = Literal["edited_pixels", "edited_areas", "labels"]
Track = Literal["learner_mean_iou", "served_mean_iou"]

Key = tuple[str, str, int]
"""Region, strategy and seed of a cell."""

Cells = Mapping[Key, Sequence[Mapping[str, Any]]]
"""The rounds of each cell."""

Paired = Mapping[tuple[str, int], float]
"""A difference for each region and seed."""


@dataclass(frozen=True)
class Difference:
    """A mean difference over places.

    Attributes:
        mean: Mean over places of the means over their regions, of the means over seeds.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        spread: Standard deviation over all pairs of a region and a seed; NaN with fewer than two.
        pairs: Number of pairs.
        places: Number of places.
        resampled: (RESAMPLES,) the means of the resamples.
    """

    mean: float
    low: float
    high: float
    spread: float
    pairs: int
    places: int
    resampled: NDArray[np.float64]

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value against the hypothesis that the difference is at most this bound."""
        return float((1 + np.sum(self.resampled <= bound)) / (1 + len(self.resampled)))

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def at_equal_effort(
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
    start_rounds: int,
    effort: Effort = "edited_pixels",
    track: Track = "learner_mean_iou",
) -> float | None:
    """Return the difference of mean IoU at equal effort, averaged over the rounds that were chosen.

    Mean IoU is interpolated linearly between rounds. It is compared at as many evenly spaced budgets as there are
    chosen rounds, from the end of the start, which both share, up to the smaller of the two total efforts.

    Args:
        ours: Rounds of one strategy.
        theirs: Rounds of another with the same start.
        start_rounds: Rounds of the start.
        effort: What is spent.
        track: Whose mean IoU.

    Returns:
        None if one of the two spent nothing after the start.
    """
    chosen = min(len(ours), len(theirs)) - start_rounds
    spent, limit = ours[start_rounds - 1][effort], min(ours[-1][effort], theirs[-1][effort])
    if chosen < 1 or limit <= spent:
        return None
    budgets = np.linspace(spent, limit, chosen + 1)[1:]
    curves = [
        np.interp(budgets, [one[effort] for one in rounds], [one[track] for one in rounds]) for rounds in (ours, theirs)
    ]
    return float(np.mean(curves[0] - curves[1]))


def paired(
    cells: Cells,
    ours: str,
    theirs: str,
    compare: Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], float | None],
    group: str | None = None,
) -> Paired:
    """Compare two strategies in each region and seed that has both; regions of one group, or of all."""
    return {
        (region, seed): found
        for (region, strategy, seed), rounds in cells.items()
        if strategy == ours
        and (region, theirs, seed) in cells
        and group in (None, SPECS[region].group)
        and (found := compare(rounds, cells[region, theirs, seed])) is not None
    }


def in_round(number: int, track: Track = "learner_mean_iou") -> Callable[[Any, Any], float | None]:
    """Return the comparison of mean IoU after a round, counted from 0: at equal labels."""

    def compare(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float | None:
        if number >= min(len(ours), len(theirs)):
            return None
        return float(ours[number][track] - theirs[number][track])

    return compare


def over_places(values: Paired, seed: int = 0) -> Difference | None:
    """Return the mean over places with a percentile interval of a hierarchical bootstrap; None without values.

    Places are drawn with replacement, in each of them its regions, in each of these its seeds (Davison & Hinkley 1997,
    Bootstrap methods and their application, section 3.8): the interval is one for a place that was not looked at. With
    few places it is too narrow (`models.bootstrap`).
    """
    if not values:
        return None
    places: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (region, _), value in sorted(values.items()):
        places[SPECS[region].place][region].append(value)
    nested = [[np.array(seeds) for seeds in regions.values()] for regions in places.values()]
    generator = np.random.default_rng(seed)
    # One column for each place: resampling is independent between places, so each can be resampled on its own.
    by_place = np.column_stack([_resampled_means(regions, generator) for regions in nested])
    drawn = generator.integers(len(nested), size=(RESAMPLES, len(nested)))
    # Two draws of the same place are resampled apart: rows of each column are shuffled for each draw.
    rows = generator.integers(RESAMPLES, size=drawn.shape)
    resampled = by_place[rows, drawn].mean(axis=1)
    mean = float(np.mean([np.mean([seeds.mean() for seeds in regions]) for regions in nested]))
    low, high = np.quantile(resampled, [0.025, 0.975])
    everything = list(values.values())
    spread = statistics.stdev(everything) if len(everything) > 1 else float("nan")
    return Difference(mean, float(low), float(high), spread, len(everything), len(nested), resampled)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted by Holm's step-down procedure (Holm 1979, Scand. J. Statist. 6, 65-70)."""
    adjusted, highest = {}, 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, value * (len(p_values) - rank)))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def effort_to(rounds: Sequence[Mapping[str, Any]], target: float, effort: Effort = "edited_pixels") -> float | None:
    """Return the effort at which mean IoU first reaches a target, interpolated between rounds; None if it never does.

    A run that has reached it after its first round is counted with the effort of that round.
    """
    before: Mapping[str, Any] | None = None
    for after in rounds:
        if after["learner_mean_iou"] >= target:
            if before is None:
                return float(after[effort])
            share = (target - before["learner_mean_iou"]) / (after["learner_mean_iou"] - before["learner_mean_iou"])
            return float(before[effort] + share * (after[effort] - before[effort]))
        before = after
    return None


def effort_ratios(cells: Cells, ours: str, theirs: str, ceiling: str) -> tuple[list[float], int, int, int]:
    """Compare the edited pixels with which two strategies reach 90 % of the ceiling.

    Returns:
        Our effort over theirs in each pair in which both reach it; how many pairs we reach it in, how many they; and
        how many pairs there are.
    """
    ratios, reached, reached_by_them, pairs = [], 0, 0, 0
    for (region, strategy, seed), rounds in cells.items():
        other, best = cells.get((region, theirs, seed)), cells.get((region, ceiling, seed))
        if strategy != ours or other is None or best is None:
            continue
        target = CEILING_SHARE * best[0]["learner_mean_iou"]
        mine, its = effort_to(rounds, target), effort_to(other, target)
        pairs, reached = pairs + 1, reached + (mine is not None)
        reached_by_them += its is not None
        if mine is not None and its:
            ratios.append(mine / its)
    return ratios, reached, reached_by_them, pairs


def mean_curve(cells: Cells, strategy: str, field: str) -> list[float]:
    """Return the mean over all cells of a strategy after each round that all of them have."""
    runs = [rounds for (_, name, _), rounds in cells.items() if name == strategy]
    count = min((len(rounds) for rounds in runs), default=0)
    return [statistics.mean(rounds[number][field] for rounds in runs) for number in range(count)]


def complete(cells: Cells, strategies: Iterable[str]) -> dict[Key, Sequence[Mapping[str, Any]]]:
    """Return the cells of those regions and seeds that have all these strategies, so that curves compare."""
    wanted = list(strategies)
    return {key: rounds for key, rounds in cells.items() if all((key[0], name, key[2]) in cells for name in wanted)}


def _resampled_means(regions: Sequence[NDArray[np.float64]], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return (RESAMPLES,) means of one place: its regions drawn with replacement, and in each draw its seeds."""
    total = np.zeros(RESAMPLES)
    drawn = generator.integers(len(regions), size=(RESAMPLES, len(regions)))
    for index, seeds in enumerate(regions):
        for column in range(len(regions)):
            chosen = drawn[:, column] == index
            picks = generator.integers(len(seeds), size=(int(chosen.sum()), len(seeds)))
            total[chosen] += seeds[picks].mean(axis=1)
    return total / len(regions)
