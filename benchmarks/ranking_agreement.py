"""Do the passes that the workers spend by default still find the patches that many passes would find?

``python -m benchmarks.ranking_agreement [--short]``

The default scoring rests on two decisions, taken on the comparison of designs, cascades and stopping rules in
docs/benchmarks.md ("How steady is a ranking?"). This benchmark measures the code that the workers run and guards both:

1. The dropout masks of the T = 20 passes are balanced. Guarded: by either entropy, the ranking varies between runs
   at most a third as much (`LEAST_VARIANCE_RATIO`; variance) as with as many passes of plain Monte Carlo dropout, where
   every patch draws independent masks of its own; and the runs find at least `LEAST_AGREEMENT` of the top tenth that
   hundreds of independent passes find.
2. A large pool gets a screening pass without dropout, and the T passes are spent on its shortlist only. Guarded: by
   either entropy this finds at most `MOST_LOST` of the top tenth less than T passes on all patches do.

If a decision no longer holds, the result is still written to ``var/bench/ranking_agreement.json``, and the command ends
with an error that names each measure below its threshold. Mutual information is reported and not guarded: a single pass
has none, which is why rounds that rank by it are refused after a screening pass.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.report import Result, markdown, publish
from catalog.settings import Settings
from catalog.sharding import SHORTLIST_MEASURES
from imagery.channels import FURTHER_TERRAIN
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import tile
from imagery.maps import read_map
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from models.agreement import TOP_SHARE, top_agreement
from models.mc_dropout import McSampler, PassMasks
from models.measures import MEASURES, score_patch
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from workers.windows import read_batch

Scores = NDArray[np.float64]

PASSES: Final = 20  # the default of the settings
SHORTLIST_SHARE: Final[float] = Settings.model_fields["mc_shortlist_share"].default
PATCH_PX: Final = 64
DEPTH: Final = 3  # of the networks, as in the demo
ENTRY_COST: Final = 0.5  # passes: reading a patch, and what the network computes before its first dropout

LEAST_VARIANCE_RATIO: Final = 3.0  # measured: 11 and 15, the mean over six networks
LEAST_AGREEMENT: Final = 0.85  # measured: 0.96 and 0.95
MOST_LOST: Final = 0.15  # measured: 0.01 and 0.00; a single patch of the short form is 0.1


@dataclass(frozen=True)
class Network:
    """A network to train.

    Attributes:
        scene: Seed of a synthetic scene, or ``"everest"``.
        labels: Number of patches that it learns from.
        seed: Of the choice of these patches, of the weights and of the training.
    """

    scene: str
    labels: int
    seed: int


@dataclass(frozen=True)
class Form:
    """The size of the benchmark.

    Attributes:
        networks: The networks whose rankings are compared.
        side_px: Side of the synthetic scenes.
        reference_passes: Independent passes of the reference.
        runs: Runs of `PASSES` passes for each kind of masks.
    """

    networks: Sequence[Network]
    side_px: int
    reference_passes: int
    runs: int


SHORT: Final = Form([Network("0", 12, 0)], side_px=640, reference_passes=200, runs=5)
LONG: Final = Form(
    [Network(scene, *trained) for scene in ("0", "1", "everest") for trained in ((12, 0), (40, 1))],
    side_px=1152,
    reference_passes=500,
    runs=8,
)


@dataclass(frozen=True)
class PoolScores:
    """Scores of the N patches of a pool by one network; axis M holds the measures of `models.measures.MEASURES`.

    Attributes:
        reference: (M, N), of many passes with independent masks.
        screening: (M, N), of the screening pass, which drops no map; its mutual information is 0.
        independent: (R, M, N), of runs of `PASSES` passes with independent masks, common to all patches.
        balanced: (R, M, N), of runs of `PASSES` passes with masks as the workers draw them.
    """

    reference: Scores
    screening: Scores
    independent: Scores
    balanced: Scores


def read_pool(scene: str, side_px: int, folder: Path) -> tuple[SceneSource, tuple[str, ...], NDArray[np.uint8]]:
    """Write a scene to a folder; return its source, the channels for the networks and the true classes (H, W)."""
    if scene == "everest":
        everest = prepare(folder)
        source = describe(everest.bands)
        return source, source.band_names, rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME)
    synthetic = write_scene(folder, side_px, side_px, int(scene))
    source = describe(synthetic.bands, dem=synthetic.dem)
    channels = tuple(name for name in source.channel_names if name not in FURTHER_TERRAIN)
    return source, channels, read_map(str(synthetic.truth), source.grid.window)


def score_network(network: Network, form: Form) -> PoolScores:
    """Train the default network, with less depth, on some patches of a scene, and score all of its patches."""
    with TemporaryDirectory() as folder:
        source, channels, truth = read_pool(network.scene, form.side_px, Path(folder))
        windows = tile(source.grid.width, source.grid.height, PATCH_PX)
        with SceneReader(source) as reader:
            images = read_batch(reader, channels, windows)
        found = channel_statistics([(source, windows)], channels)
    preset = PRESETS["default"]
    shape = replace(preset.network(len(channels), len(GLACIER_SCHEME.classes), preset.head), depth=DEPTH)
    segmenter = build_segmenter(channels, found.mean, found.std, shape, network.seed, preset.head)
    chosen = np.random.default_rng(network.seed).permutation(len(windows))[: network.labels]
    labelled = [(images[index], torch.from_numpy(truth[windows[index].slices])) for index in chosen]
    fit(segmenter, labelled, replace(preset.training, seed=network.seed), torch.device("cpu"), UNKNOWN)
    return score_pool(segmenter, images, form.reference_passes, form.runs)


def score_pool(segmenter: GlacierSegmenter, images: Tensor, reference_passes: int, runs: int) -> PoolScores:
    """Score patches (N, C, H, W) in bfloat16: the reference, the screening pass, and runs with both kinds of masks."""
    screening, dropping = McSampler(segmenter, torch.bfloat16, p=0.0), McSampler(segmenter, torch.bfloat16)
    no_drop = screening.draw(1, seed=0)
    generator = torch.Generator().manual_seed(0)

    def independent(passes: int) -> list[PassMasks]:
        return draw_independent(no_drop[0], segmenter.unet.config.dropout, passes, generator)

    return PoolScores(
        reference=_scores(dropping, images, independent(reference_passes)),
        screening=_scores(screening, images, no_drop),
        independent=np.stack([_scores(dropping, images, independent(PASSES)) for _ in range(runs)]),
        balanced=np.stack([_scores(dropping, images, dropping.draw(PASSES, seed)) for seed in range(runs)]),
    )


def draw_independent(all_maps: PassMasks, p: float, passes: int, generator: torch.Generator) -> list[PassMasks]:
    """Return masks of plain Monte Carlo dropout: each pass drops each map with probability p.

    Args:
        all_maps: The masks of a pass that keeps every map.
        p: Probability that a map is dropped.
        passes: Number of passes.
        generator: Of the draws.
    """
    return [
        tuple([maps[torch.rand(len(maps), generator=generator) >= p] for maps in network] for network in all_maps)
        for _ in range(passes)
    ]


def _scores(sampler: McSampler, images: Tensor, masks: Sequence[PassMasks]) -> Scores:
    """Return the scores (M, N) by some passes."""
    prediction = sampler.sample(images, masks).prediction()
    maps = {name: of_batch.numpy() for name, of_batch in prediction.maps().items()}
    valid = images.isfinite().all(dim=1).numpy()
    scored = [
        score_patch({name: of_batch[patch] for name, of_batch in maps.items()}, valid[patch])
        for patch in range(len(images))
    ]
    return np.array([[of_patch[measure] for of_patch in scored] for measure in MEASURES])


def own_masks(runs: Scores) -> Scores:
    """Return runs (R, N) in which each patch has masks of its own: the runs of each patch are shuffled separately."""
    return np.random.default_rng(0).permuted(runs, axis=0)


def variance_between_runs(runs: Scores, reference: Scores) -> float:
    """Return how much runs (R, N) differ in the order of the upper three tenths of the patches: mean variance.

    What moves all of these patches alike leaves their order alone and does not count.
    """
    upper = np.argsort(-reference, kind="stable")[: 3 * int(TOP_SHARE * len(reference))]
    scores = runs[:, upper]
    return float((scores - scores.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean())


def agreement(runs: Scores, reference: Scores) -> float:
    """Return the share of the reference's top tenth that runs (R, N) find, on average.

    Raises:
        ValueError: There are fewer than ten patches.
    """
    shares = [top_agreement(run, reference) for run in runs]
    found = [share for share in shares if share is not None]
    if not found:
        raise ValueError(f"found {len(reference)} patches, which have no top tenth; expected at least 10")
    return statistics.fmean(found)


def shortlist(screening: Scores, share: float) -> NDArray[np.bool_]:
    """Return which patches (N,) a screening pass (M, N) ranks in a share of the pool, by one of the entropies."""
    count = math.ceil(share * screening.shape[1])
    listed = np.zeros(screening.shape[1], dtype=bool)
    for measure in SHORTLIST_MEASURES:
        listed[np.argsort(-screening[list(MEASURES).index(measure)], kind="stable")[:count]] = True
    return listed


def judge(pools: Sequence[PoolScores]) -> list[dict[str, object]]:
    """Return a row for each measure, with means over the networks.

    ``"variance ratio"`` is that of independent masks, each patch its own, over balanced ones (geometric mean): how many
    times as many independent passes are as steady. The next three are shares of the reference's top tenth that
    `PASSES` passes find, ``"shortlist cost"`` is in passes a patch of the pool.
    """
    return [_row(pools, index, measure) for index, measure in enumerate(MEASURES)]


def _row(pools: Sequence[PoolScores], index: int, measure: str) -> dict[str, object]:
    ratios, found = [], []
    for pool in pools:
        reference, balanced = pool.reference[index], pool.balanced[:, index]
        independent = own_masks(pool.independent[:, index])
        listed = shortlist(pool.screening, SHORTLIST_SHARE)
        ratios.append(variance_between_runs(independent, reference) / variance_between_runs(balanced, reference))
        behind = np.where(listed, balanced, -np.inf)  # patches that were only screened rank behind all others
        cost = 1 + ENTRY_COST + listed.mean() * (PASSES + ENTRY_COST)
        found.append([*(agreement(runs, reference) for runs in (independent, balanced, behind)), cost])
    of_independent, of_balanced, of_shortlist, cost = np.mean(found, axis=0).tolist()
    return {
        "measure": measure,
        "variance ratio": statistics.geometric_mean(ratios),
        "independent": of_independent,
        "balanced": of_balanced,
        "shortlist": of_shortlist,
        "shortlist cost": cost,
    }


def broken_decisions(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a sentence for each threshold that is missed by an entropy; none while both decisions hold."""
    found = []
    for row in rows:
        if row["measure"] not in set(SHORTLIST_MEASURES):
            continue
        ratio, balanced, of_shortlist = (float(str(row[key])) for key in ("variance ratio", "balanced", "shortlist"))
        if ratio < LEAST_VARIANCE_RATIO:
            found.append(f"{row['measure']}: variance ratio {ratio:.2f}, expected at least {LEAST_VARIANCE_RATIO}")
        if balanced < LEAST_AGREEMENT:
            found.append(f"{row['measure']}: balanced passes find {balanced:.2f}, expected at least {LEAST_AGREEMENT}")
        if balanced - of_shortlist > MOST_LOST:
            lost = balanced - of_shortlist
            found.append(f"{row['measure']}: the shortlist loses {lost:.2f}, expected at most {MOST_LOST}")
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--short", action="store_true", help="one network and a smaller scene; fewer passes")
    return made


def main() -> None:
    """Measure, print the table, write the report; fail if a decision no longer holds."""
    form = SHORT if parser().parse_args().short else LONG
    torch.set_num_threads(1)
    pools = [score_network(network, form) for network in form.networks]
    rows = judge(pools)
    print(markdown(rows))
    broken = broken_decisions(rows)
    ratios = [float(str(row["variance ratio"])) for row in rows]
    publish(
        Result(
            name="ranking_agreement",
            figures=rows,
            baseline="independent masks, each patch its own: passes for the same variance between runs",
            ratio=statistics.median(ratios),
            spread=(min(ratios), max(ratios)),
            seeds=[network.seed for network in form.networks],
            conditions={
                "networks": [f"scene {network.scene}, {network.labels} labels" for network in form.networks],
                "patches": [pool.reference.shape[1] for pool in pools],
                "runs": form.runs,
                "passes of the reference": form.reference_passes,
                "broken decisions": broken,
            },
        )
    )
    if broken:
        raise SystemExit("the default scoring no longer ranks as it was decided on:\n" + "\n".join(broken))


if __name__ == "__main__":
    main()
