"""Which passes find the patches that many would? Designs of masks, cascades and stopping rules, at what each costs.

``python -m benchmarks.ranking_agreement [--short] [--scenes NAME ...] [--resume]``

Networks are trained on a few patches of synthetic scenes and of the Everest scene, and the whole scenes scored by many
passes with different seeds. Told is what share of the top tenth two scorings have in common, and one has with a
reference of 500 independent passes; how many independent passes would agree as well; and how well the agreement can be
estimated from the passes of one scoring. ``--resume`` takes the scores of networks that a stopped run of the same code
has left beside the results, in ``ranking/``; a run that ends takes all of them away.
"""

import argparse
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch

from benchmarks.ranking_comparison import OWN, ceiling, compare_designs, compare_estimates, compare_staged
from benchmarks.ranking_pools import everest_pool, synthetic_pool, train
from benchmarks.ranking_schemes import ENTRY, Scheme, cascade, race, stop_when_steady
from benchmarks.ranking_scores import PoolScores, score_pool
from benchmarks.report import BENCH, Result, is_of_this_code, markdown, publish
from workers.code_version import code_version

SCORES: Final = BENCH / "ranking"
SCENES: Final = ("0", "1", "everest")
STAGED: Final[Mapping[str, Scheme]] = {
    "T = 5, 20 on the top 30 %": cascade(5, 20, 0.3),
    "T = 10, 20 on the top 20 %": cascade(10, 20, 0.2),
    "T = 10, 40 on the top 20 %": cascade(10, 40, 0.2),
    "T = 10, 40 on the top 30 %": cascade(10, 40, 0.3),
    "T = 20, 40 on the top 20 %": cascade(20, 40, 0.2),
    "T = 10, 40 on what 1 s.e. leaves open": race((10, 40), 1.0),
    "T = 10, 40 on what 2 s.e. leave open": race((10, 40), 2.0),
    "T = 10, 20, 40 on what 2 s.e. leave open": race((10, 20, 40), 2.0),
    "T = 10, 15, ..., 40 on what 2 s.e. leave open": race((10, 15, 20, 25, 30, 35, 40), 2.0),
    "T = 10, 20 or 40, until the halves agree on 0.8": stop_when_steady((10, 20, 40), 0.8),
}
"""What is tried with balanced masks beside all passes on all patches."""


SURVEYS: Final = ((20, 0.15), (20, 0.2), (20, 0.3), (20, 0.4), (10, 0.2), (40, 0.2))
"""Passes, and the share of the pool that meets them after a survey; the second is how large pools are scored."""


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes:
        scene: Seed of a synthetic scene, or ``"everest"``.
        labels: Patches that it learns from.
        seed: Of their choice, the weights and the training.
    """

    scene: str
    labels: int
    seed: int


@dataclass(frozen=True)
class Form:
    """The size of the experiment.

    Attributes:
        side_px: Of the synthetic scenes.
        networks: All of them.
        runs: Of each design.
        reference: Passes of the reference.
    """

    side_px: int
    networks: Sequence[Network]
    runs: int
    reference: int


SHORT: Final = Form(512, [Network("0", 12, 0)], 2, 200)


def long_form(scenes: Sequence[str]) -> Form:
    """Two networks for each scene: after few labels and after more."""
    return Form(1152, [Network(scene, *trained) for scene in scenes for trained in ((12, 0), (40, 1))], 4, 500)


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--short", action="store_true", help="one small scene and network; fewer passes")
    made.add_argument("--scenes", nargs="+", default=SCENES, choices=SCENES, help="of the long form")
    made.add_argument("--resume", action="store_true", help="take the scores that a stopped run has left")
    return made


def main() -> None:
    """Measure, print the tables, write the report."""
    given = parser().parse_args()
    torch.set_num_threads(1)
    form = SHORT if given.short else long_form(given.scenes)
    pools = [scores_of(network, form, resume=given.resume) for network in form.networks]
    designs, staged, estimates = (
        compare_designs(pools),
        compare_staged(pools, STAGED, SURVEYS),
        compare_estimates(pools),
    )
    print(f"\nAll passes on all patches; top tenths by {len(pools)} networks\n\n{markdown(designs)}\n")
    print(f"Balanced masks, further passes on some patches\n\n{markdown(staged)}\n")
    print(f"The agreement of two scorings with balanced masks, estimated from one\n\n{markdown(estimates)}")
    publish(result(form, pools, designs, [*staged, *estimates]))
    shutil.rmtree(SCORES)


def scores_file(network: Network, form: Form, version: str) -> Path:
    """Where the scores by a network lie until the run ends: all that they depend on is in the path, and the code is."""
    trained = f"{network.scene}_{form.side_px}px_{network.labels}_{network.seed}"
    return SCORES / version / f"{trained}_{form.runs}_{form.reference}.npz"


def scores_of(network: Network, form: Form, *, resume: bool) -> PoolScores:
    """Train a network and run its passes, or read what this very code has left of them."""
    version = code_version()
    file = scores_file(network, form, version)
    if resume and is_of_this_code(version) and file.exists():
        print(f"{file}: taken as it is", flush=True)
        return PoolScores.load(file)
    with TemporaryDirectory() as folder:
        where = Path(folder)
        everest = network.scene == "everest"
        pool = everest_pool(where) if everest else synthetic_pool(where, form.side_px, int(network.scene))
        segmenter = train(pool, network.labels, network.seed)
    scores = score_pool(segmenter, pool.images, form.runs, form.reference)
    scores.save(file)
    print(f"{file}: {len(pool.images)} patches", flush=True)
    return scores


def result(
    form: Form,
    pools: Sequence[PoolScores],
    designs: Sequence[Mapping[str, object]],
    others: Sequence[Mapping[str, object]],
) -> Result:
    """Put together what is published.

    The headline is how much steadier a pass of the default masks is, T = 20: the median over the measures. At equal
    noise two scorings agree equally well; the noise itself is the finer figure, as agreement goes by whole patches.
    """
    ratios = [row["steadier"] for row in designs if (row["masks"], row["passes"]) == ("balanced", "T = 20")]
    found = [ratio for ratio in ratios if isinstance(ratio, float)]
    return Result(
        name="ranking_agreement",
        figures=[*designs, *others],
        baseline=f"masks {OWN}: passes for the same noise between two scorings",
        ratio=statistics.median(found),
        spread=(min(found), max(found)),
        seeds=[network.seed for network in form.networks],
        conditions={
            "networks": [f"scene {network.scene}, {network.labels} labels" for network in form.networks],
            "patches": [pool.reference.shape[-1] for pool in pools],
            "runs": form.runs,
            "passes of the reference": form.reference,
            "agreement of the reference's halves": ceiling(pools),
            "passes that an entry costs": ENTRY,
        },
    )


if __name__ == "__main__":
    main()
