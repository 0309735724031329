"""Do BaaL's heuristics and our measures rank the same patches first, given the same predictions, and how fast are they?

``python -m benchmarks.baal_heuristics [--regions NAME ...] [--passes N] [--rounds N] [--region-folder FOLDER]``

BaaL (Atighehchian et al. 2022, https://github.com/baal-org/baal) is no dependency of ours. It and what its import needs
go into a folder of their own, without dependencies, so that no other torch replaces ours::

    pip install --no-deps --target DIR baal structlog h5py torchmetrics lightning_utilities
    PYTHONPATH=DIR python -m benchmarks.baal_heuristics

On each region the network of the simulated loop learns 12 random patches and predicts the pool by Monte Carlo dropout.
BaaL gets the probabilities of all passes at once, (N, K, h, w, T), as it expects; ours get the same passes one by one.
Both give one number a patch: BaaL reduces over pixels by mean or maximum, ours by mean or over the top tenth. BaaL
knows no masks: pixels under cloud, which count as certain here, count there as they are predicted; so both are compared
twice, with every pixel counted by ours too, and with the clouds as the product masks them. BaaL's power
sampling draws patches at random with weights; these are compared with the entropies in proportion to which our
``power_entropy`` draws.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.regions import CACHE, SPECS, load
from benchmarks.report import Result, markdown, publish, take_turns
from experiments.learner import Learner, LoopConfig
from experiments.region import Region
from models.mc_dropout import McSampler, PassSums
from models.measures import MEASURES, score_patch

LABELS: Final = 12
FIRST: Final = 10
REGIONS: Final = ("everest-west", "hintereisferner", "baltoro", "rare-ice", "common-ice", "much-debris")
PAIRS: Final = (
    ("BALD, mean", "mutual_information"),
    ("Entropy, mean", "entropy_mean"),
    ("Entropy, mean", "entropy_top10"),
    ("Entropy, max", "entropy_top10"),
    ("Margin, mean", "margin_top10"),
    ("Variance, mean", "variance_top10"),
    ("PowerSampling(BALD, mean)", "power_entropy"),
    ("PowerSampling(Entropy, mean)", "power_entropy"),
)
"""BaaL's heuristic and its reduction over pixels, and the measure or strategy of ours that it is compared with."""

Scores = NDArray[np.floating[Any]]


def heuristics() -> dict[str, Any]:
    """Return BaaL's heuristics by name; SystemExit if it is not installed."""
    try:
        from baal.active.heuristics import BALD, Entropy, Margin, Variance
    except ImportError as error:
        raise SystemExit(f"BaaL cannot be imported ({error}): see the docstring of this benchmark") from error
    return {
        "BALD, mean": BALD(reduction="mean"),
        "Entropy, mean": Entropy(reduction="mean"),
        "Entropy, max": Entropy(reduction="max"),
        "Margin, mean": Margin(reduction="mean"),
        "Variance, mean": Variance(reduction="mean"),
    }


def predicted_passes(region: Region, passes: int, seed: int) -> list[Tensor]:
    """Train a network, and return the class probabilities (N, K, h, w) of each pass over the pool."""
    learner = Learner(region, seed, LoopConfig(passes=passes))
    masks = region.masks("pool").numpy()
    chosen = np.random.default_rng(seed).permutation(len(masks))[:LABELS]
    segmenter = learner.fresh()
    learner.train(segmenter, {int(i): masks[i] for i in chosen}, 2 * learner.config.steps, seed)
    sampler = McSampler(segmenter)
    return [sampler.sample(learner.images, [of_pass]).probability for of_pass in sampler.draw(passes, seed)]


def our_scores(passes: Sequence[Tensor], unmasked: NDArray[np.bool_]) -> dict[str, Scores]:
    """Return all our measures (N,) from the probabilities of the passes, which are added up one by one."""
    none = passes[0].new_zeros(len(passes[0]), 0)  # of the bottleneck: no measure reads it
    sums = reduce(add, (PassSums(p, torch.special.entr(p).sum(dim=1), p.square().sum(dim=1), none, 1) for p in passes))
    maps = {name: of_pool.numpy() for name, of_pool in sums.prediction().maps().items()}
    found = [
        score_patch({name: of_pool[number] for name, of_pool in maps.items()}, valid)
        for number, valid in enumerate(unmasked)
    ]
    return {name: np.array([of_patch[name] for of_patch in found]) for name in MEASURES}


def uncertainty(heuristic: Any, predictions: NDArray[np.float32]) -> Scores:
    """Return a heuristic's scores (N,), higher for what it would choose first."""
    scores: Scores = heuristic.get_uncertainties(predictions)
    return scores if heuristic.reversed else -scores


def agreement(one: Scores, other: Scores) -> tuple[float, int]:
    """Return the rank correlation of two scores (N,), and how many patches their first ten share."""
    first = [set(np.argsort(-scores, kind="stable")[:FIRST].tolist()) for scores in (one, other)]
    return float(spearmanr(one, other).statistic), len(first[0] & first[1])


def power_weights(predictions: NDArray[np.float32]) -> dict[str, Scores]:
    """Return the weights (N,) of the patches in BaaL's power sampling, by its name."""
    from baal.active.heuristics import BALD, Entropy
    from baal.active.heuristics.stochastics import PowerSampling

    base = {"BALD": BALD(reduction="mean"), "Entropy": Entropy(reduction="mean")}
    return {
        f"PowerSampling({name}, mean)": PowerSampling(heuristic, FIRST).get_ranks(predictions)[1]
        for name, heuristic in base.items()
    }


def compare(region: Region, passes: int, rounds: int, seed: int) -> dict[str, Any]:
    """Return agreements by pair, and the median seconds of each heuristic and of all our measures together."""
    by_pass, unmasked = predicted_passes(region, passes, seed), region.unmasked("pool")
    predictions = np.stack([of_pass.numpy() for of_pass in by_pass], axis=-1)
    theirs = {name: uncertainty(heuristic, predictions) for name, heuristic in heuristics().items()}
    theirs |= power_weights(predictions)
    found = {}
    for counted, usable in (("every pixel", np.ones_like(unmasked)), ("clouds masked", unmasked)):
        ours = our_scores(by_pass, usable)
        ours["power_entropy"] = ours["entropy_top10"]  # in proportion to which it draws
        found[counted] = {pair: agreement(theirs[pair[0]], ours[pair[1]]) for pair in PAIRS}
    methods: dict[str, Callable[[], object]] = {"ours, all five": partial(our_scores, by_pass, unmasked)}
    methods |= {name: partial(uncertainty, heuristic, predictions) for name, heuristic in heuristics().items()}
    seconds = {name: statistics.median(times) for name, times in take_turns(methods, rounds).items()}
    return {"agreement": found, "seconds": seconds, "patches": len(predictions)}


def table_of_agreement(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return a row for each pair: means over the regions, and the lowest."""
    rows: list[dict[str, object]] = []
    first = next(iter(results.values()))["agreement"]
    for pair in next(iter(first.values())):
        row: dict[str, object] = {"BaaL": pair[0], "ours": pair[1]}
        for counted in first:
            found = [result["agreement"][counted][pair] for result in results.values()]
            correlations, shared = [rank for rank, _ in found], [number for _, number in found]
            row[f"rank correlation, {counted}"] = f"{statistics.mean(correlations):.3f} [{min(correlations):.3f}]"
            row[f"of the first ten, {counted}"] = f"{statistics.mean(shared):.1f} [{min(shared)}]"
        rows.append(row)
    return rows


def table_of_seconds(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return a row for each method: milliseconds a patch, the mean of the regions' medians."""
    return [
        {
            "from probabilities to scores": name,
            "ms a patch": 1000 * statistics.mean(r["seconds"][name] / r["patches"] for r in results.values()),
        }
        for name in next(iter(results.values()))["seconds"]
    ]


def main() -> None:
    """Compare on each region, print the tables, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", nargs="+", default=list(REGIONS), choices=list(SPECS), metavar="NAME")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7, help="of timing, methods in turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--region-folder", type=Path, default=CACHE, help="where regions are kept that were made")
    given = parser.parse_args()
    heuristics()
    torch.set_num_threads(1)
    results = {}
    for name in given.regions:
        results[name] = compare(load(name, given.region_folder), given.passes, given.rounds, given.seed)
        print(f"{name}: {results[name]['patches']} patches", flush=True)
    agreements, seconds = table_of_agreement(results), table_of_seconds(results)
    print(f"\n{markdown(agreements)}\n\n{markdown(seconds)}")
    conditions = {"regions": given.regions, "passes": given.passes, "labels": LABELS, "threads": 1}
    publish(Result("baal_heuristics", [*agreements, *seconds], seeds=[given.seed], conditions=conditions))


if __name__ == "__main__":
    main()
