"""What the schemes find on several pools, set beside what many independent passes would find."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking_schemes import ENTRY, Outcome, Scheme, at, full, overlap, tenth, top
from benchmarks.ranking_scores import PoolScores, Scores
from benchmarks.ranking_shown import ESTIMATES
from catalog.sharding import SCREENED_MEASURES
from models.measures import MEASURES

OWN: Final = "independent, each patch its own"
PASSES: Final = (5, 10, 20, 40)


@dataclass(frozen=True)
class Agreement:
    """How well a scheme does on one pool by one measure; shares of the top tenth, means over runs.

    Attributes:
        reference: In common with the reference.
        between: In common between two runs.
        cost: Passes a patch.
    """

    reference: float
    between: float
    cost: float


def judge(outcomes: Sequence[Outcome], best: NDArray[np.intp]) -> Agreement:
    """Compare the choices of at least two runs with the right one and with each other."""
    pairs = [overlap(one.chosen, other.chosen) for one, other in itertools.combinations(outcomes, 2)]
    return Agreement(
        reference=statistics.fmean(overlap(outcome.chosen, best) for outcome in outcomes),
        between=statistics.fmean(pairs),
        cost=statistics.fmean(outcome.cost for outcome in outcomes),
    )


def own_masks(runs: Scores) -> Scores:
    """Shuffle the runs (R, ..., N) of independent common masks anew for every patch.

    What a patch's score is in a run then tells nothing of what another's is, as if each had masks of its own.
    """
    rng = np.random.default_rng(0)
    return np.stack([runs[rng.permutation(len(runs)), ..., patch] for patch in range(runs.shape[-1])], axis=-1)


def of_scheme(pool: PoolScores, design: str, scheme: Scheme, measure: int) -> Agreement:
    """Judge a scheme on all runs of a design; ``OWN`` is one."""
    return judge([scheme(run) for run in _runs(pool, design)[:, :, measure]], best_of(pool, measure))


def noise(pool: PoolScores, design: str, passes: int, measure: int) -> float:
    """Variance between runs of where the patches of the upper three tenths stand to each other; the mean of them."""
    upper = top(pool.reference[measure], 3 * tenth(pool.reference.shape[-1]))
    scores = np.stack([at(run, 0, passes)[upper] for run in _runs(pool, design)[:, :, measure]])
    return float((scores - scores.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean())


def best_of(pool: PoolScores, measure: int) -> NDArray[np.intp]:
    """The top tenth by the reference."""
    return top(pool.reference[measure], tenth(pool.reference.shape[-1]))


class Baseline:
    """How the agreement of independent masks of each patch's own with the reference grows with the passes.

    Args:
        pools: All of them.
        measure: Index of the measure.
    """

    def __init__(self, pools: Sequence[PoolScores], measure: int) -> None:
        self._measure = measure
        self.by_passes = {passes: [of_scheme(pool, OWN, full(passes), measure) for pool in pools] for passes in PASSES}
        for passes in pools[0].longer:
            self.by_passes[passes] = [_longer(pool, passes, measure) for pool in pools]
        means = [statistics.fmean(found.reference for found in of_pools) for of_pools in self.by_passes.values()]
        self._means = np.maximum.accumulate(means)

    def noise_of_a_pass(self, pool: PoolScores) -> float:
        """The noise of T passes times T, the mean over T."""
        return statistics.fmean(noise(pool, OWN, passes, self._measure) * passes for passes in PASSES)

    def reaches(self, agreement: float) -> bool:
        """Tell whether the most passes that were measured agree so well."""
        return bool(agreement <= self._means[-1])

    def passes_for(self, agreement: float) -> float:
        """How few such passes agree so well: interpolated along log T, and no more than were measured."""
        passes = list(self.by_passes)
        after = int(np.searchsorted(self._means, agreement))
        if after in (0, len(passes)):
            return float(passes[min(after, len(passes) - 1)])
        neighbours = slice(after - 1, after + 1)
        return float(np.exp(np.interp(agreement, self._means[neighbours], np.log(passes[neighbours]))))


def ceiling(pools: Sequence[PoolScores]) -> dict[str, float]:
    """By measure: how well the halves of the reference agree, mean over the pools; it is not free of noise either."""
    found = {}
    for index, measure in enumerate(MEASURES):
        halves = [[top(half, tenth(len(half))) for half in pool.halves[:, index]] for pool in pools]
        found[measure] = statistics.fmean(overlap(first, second) for first, second in halves)
    return found


def compare_designs(pools: Sequence[PoolScores]) -> list[dict[str, object]]:
    """Judge every design with all passes on all patches.

    Returns:
        A row for each design, measure and number of passes: as :func:`compare_staged`, and ``"steadier"``: how many
        times the noise a pass of independent masks of each patch's own has, geometric mean over the pools. Noise is
        the variance between runs; with independent masks it falls with T, so that this, too, is a ratio of passes.
    """
    rows = []
    for index, measure in enumerate(MEASURES):
        baseline = Baseline(pools, index)
        for passes, judged in baseline.by_passes.items():
            rows.append(_row(measure, OWN, f"T = {passes}", judged, baseline) | {"steadier": 1.0})
        for design, passes in itertools.product(pools[0].runs, PASSES):
            judged = [of_scheme(pool, design, full(passes), index) for pool in pools]
            ratios = [baseline.noise_of_a_pass(pool) / (noise(pool, design, passes, index) * passes) for pool in pools]
            row = _row(measure, design, f"T = {passes}", judged, baseline)
            rows.append(row | {"steadier": statistics.geometric_mean(ratios)})
    return rows


def compare_staged(
    pools: Sequence[PoolScores], staged: Mapping[str, Scheme], surveys: Sequence[tuple[int, float]] = ()
) -> list[dict[str, object]]:
    """Judge schemes that do not give all passes to all patches, on balanced masks; and one pass without dropout.

    Args:
        pools: All of them.
        staged: Schemes by name.
        surveys: Numbers of passes T, each with the share of the pool that meets them after a pass without dropout, by
            either entropy.

    Returns:
        A row for each scheme and measure: agreement with the reference (mean and standard deviation over the pools),
        between runs, cost, and as ``"speed-up"`` the cost of the independent passes that agree as well with the
        reference over it, with a ``>`` where even the most that were measured do not.
    """
    rows = []
    for index, measure in enumerate(MEASURES):
        baseline = Baseline(pools, index)
        if measure != "mutual_information":  # a single pass has none
            judged = [_certain(pool, index) for pool in pools]
            rows.append(_row(measure, "none dropped", "T = 1", judged, baseline))
        for passes, share in surveys:
            judged = [_surveyed(pool, passes, share, index) for pool in pools]
            rows.append(_row(measure, "balanced", f"a survey, {passes} on its top {share:.0%}", judged, baseline))
        for name, scheme in staged.items():
            judged = [of_scheme(pool, "balanced", scheme, index) for pool in pools]
            rows.append(_row(measure, "balanced", name, judged, baseline))
    return rows


def compare_estimates(pools: Sequence[PoolScores]) -> list[dict[str, object]]:
    """Set what one scoring says of its agreement with the next beside what it is, with balanced masks.

    Returns:
        A row for each estimate, measure and number of passes: the mean agreement between runs, the mean error of the
        estimate, its root mean square, and how often it promises 0.1 too much; over all runs of all pools.
    """
    rows: list[dict[str, object]] = []
    for (index, measure), passes, (name, estimate) in itertools.product(
        enumerate(MEASURES), PASSES[1:], ESTIMATES.items()
    ):
        truths, errors = [], []
        for pool in pools:
            truth = of_scheme(pool, "balanced", full(passes), index).between
            truths.append(truth)
            errors += [estimate(run, passes) - truth for run in pool.runs["balanced"][:, :, index]]
        rows.append(
            {
                "measure": measure,
                "passes": passes,
                "estimate": name,
                "agreement": statistics.fmean(truths),
                "mean error": statistics.fmean(errors),
                "rms error": float(np.sqrt(np.mean(np.square(errors)))),
                "0.1 too high": float(np.mean(np.array(errors) > 0.1)),
            }
        )
    return rows


def _runs(pool: PoolScores, design: str) -> Scores:
    return own_masks(pool.runs["independent"]) if design == OWN else pool.runs[design]


def _longer(pool: PoolScores, passes: int, measure: int) -> Agreement:
    count = tenth(pool.reference.shape[-1])
    runs = own_masks(pool.longer[passes])[:, measure]
    return judge([Outcome(top(run, count), passes + ENTRY) for run in runs], best_of(pool, measure))


def _certain(pool: PoolScores, measure: int) -> Agreement:
    """Judge the pass without dropout, which is the same in every run."""
    best = best_of(pool, measure)
    return Agreement(overlap(top(pool.certain[measure], len(best)), best), 1.0, 1 + ENTRY)


def _surveyed(pool: PoolScores, passes: int, share: float, measure: int) -> Agreement:
    """Judge all passes on what a pass without dropout ranks high by either entropy."""
    patches = pool.certain.shape[-1]
    entropies = [scores for scores, name in zip(pool.certain, MEASURES, strict=True) if name in SCREENED_MEASURES]
    contested = np.unique(np.concatenate([top(scores, math.ceil(share * patches)) for scores in entropies]))
    cost = 1 + ENTRY + len(contested) / patches * (passes + ENTRY)
    outcomes = [
        Outcome(contested[top(at(run, 0, passes)[contested], tenth(patches))], cost)
        for run in pool.runs["balanced"][:, :, measure]
    ]
    return judge(outcomes, best_of(pool, measure))


def _row(measure: str, design: str, name: str, judged: Sequence[Agreement], baseline: Baseline) -> dict[str, object]:
    agreements = [found.reference for found in judged]
    cost = statistics.fmean(found.cost for found in judged)
    mean = statistics.fmean(agreements)
    speed_up = f"{(baseline.passes_for(mean) + ENTRY) / cost:.3g}"
    return {
        "measure": measure,
        "masks": design,
        "passes": name,
        "cost": cost,
        "with reference": mean,
        "± networks": statistics.stdev(agreements) if len(agreements) > 1 else 0.0,
        "between runs": statistics.fmean(found.between for found in judged),
        "speed-up": speed_up if baseline.reaches(mean) else f"> {speed_up}",
    }
