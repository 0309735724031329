"""What the cells of `benchmarks.label_efficiency` say: differences at equal effort, with intervals over places.

A cell is the result of one strategy on one region with one seed. Strategies are compared within a region and seed,
where they share the labels of the start and the initial weights.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.regions import SPECS
from experiments.cells import Cells, Key
from experiments.effort_curves import Effort, Rounds

RESAMPLES: Final = 10_000
MARGIN: Final = 0.02
CEILING_SHARE: Final = 0.9

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


def paired(
    cells: Cells,
    ours: str,
    theirs: str,
    compare: Callable[[Rounds, Rounds], float | None],
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


@dataclass(frozen=True)
class EffortRatios:
    """How much of another strategy's effort ours takes to reach 90 % of the ceiling.

    Attributes:
        logs: Logarithm of the ratio in each pair in which both reach it.
        bounds: The ratio in every pair, or what it is at least for the other's sake: where the other does not reach it,
            its whole effort counts as what it takes; where we do not, the ratio is infinite.
        reached: Number of pairs in which we reach it.
        reached_by_them: Number of pairs in which they do.
    """

    logs: Paired
    bounds: list[float]
    reached: int
    reached_by_them: int


def effort_ratios(cells: Cells, ours: str, theirs: str, ceiling: str, effort: Effort = "edited_pixels") -> EffortRatios:
    """Compare the effort with which two strategies reach 90 % of the ceiling, in each region and seed that has all."""
    logs, bounds, reached, reached_by_them = {}, [], 0, 0
    for (region, strategy, seed), rounds in cells.items():
        other, best = cells.get((region, theirs, seed)), cells.get((region, ceiling, seed))
        if strategy != ours or other is None or best is None:
            continue
        target = CEILING_SHARE * best[0]["learner_mean_iou"]
        mine, its = effort_to(rounds, target, effort), effort_to(other, target, effort)
        reached, reached_by_them = reached + (mine is not None), reached_by_them + (its is not None)
        if mine is not None and its is not None:
            logs[region, seed] = math.log(mine / its)
        bounds.append(math.inf if mine is None else mine / (other[-1][effort] if its is None else its))
    return EffortRatios(logs, bounds, reached, reached_by_them)


def effort_to(rounds: Rounds, target: float, effort: Effort = "edited_pixels") -> float | None:
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


def complete(cells: Cells, strategies: Iterable[str]) -> dict[Key, Rounds]:
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
