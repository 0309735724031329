"""Do two scorings of the same pool choose the same patches? Balanced and common masks beside independent ones.

``python -m benchmarks.ranking_agreement [--scenes N] [--runs N] [--reference T]``

For each scene a small network is trained on some windows of a synthetic scene; the whole scene is then scored several
times with different seeds. Told is the share that the top tenths of two scorings have in common (mean over all pairs),
and that with a reference of many independent passes. Writes ``var/bench/ranking_agreement.json``.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.plain_dropout import naive
from catalog.settings import Strategy
from imagery.classes import CLASSES, UNKNOWN
from imagery.grid import tile
from imagery.maps import read_map
from imagery.scene import SceneReader, describe
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from models.mc_dropout import McPrediction, predict_mc
from models.measures import score_patch
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from workers.windows import batches

BENCH: Final = Path("var/bench")
SCENE_PX: Final = 1280
PATCH_PX: Final = 64
LABELLED: Final = 24
PASSES: Final = (5, 10, 20, 40)
TOGETHER: Final = 64
MEASURES: Final = (Strategy.ENTROPY_TOP10.value, Strategy.ENTROPY_MEAN.value, Strategy.MUTUAL_INFORMATION.value)

Scores = dict[str, NDArray[np.float64]]
Method = Callable[[GlacierSegmenter, torch.Tensor, int, int], McPrediction]


def independent(segmenter: GlacierSegmenter, images: torch.Tensor, passes: int, seed: int) -> McPrediction:
    """Masks drawn anew for every patch and pass; torch's global generator is seeded by the caller."""
    del seed
    return naive(segmenter, images, passes)


METHODS: Final[dict[str, Method]] = {"independent masks": independent, "balanced, common to all patches": predict_mc}


def trained(seed: int, folder: Path) -> tuple[GlacierSegmenter, torch.Tensor]:
    """Train on some windows of a synthetic scene; return the network and all windows (N, C, h, w)."""
    scene = write_scene(folder, SCENE_PX, SCENE_PX, seed)
    source = describe(scene.bands, dem=scene.dem)
    windows, channels = tile(SCENE_PX, SCENE_PX, PATCH_PX), source.channel_names
    with SceneReader(source) as reader:
        images = torch.from_numpy(np.stack([reader.read(channels, window) for window in windows]))
    masks = [torch.from_numpy(np.array(read_map(str(scene.truth), window))) for window in windows]
    statistics = channel_statistics([(source, windows)], channels)
    preset = PRESETS["default"]
    shape = preset.network(len(channels), len(CLASSES), preset.head)
    segmenter = build_segmenter(channels, statistics.mean, statistics.std, replace(shape, depth=3), seed, preset.head)
    chosen = np.random.default_rng(seed).permutation(len(windows))[:LABELLED]
    labelled = [(images[index], masks[index]) for index in chosen]
    fit(segmenter, labelled, preset.training, torch.device("cpu"), UNKNOWN.value)
    return segmenter, images


def scores(method: Method, segmenter: GlacierSegmenter, images: torch.Tensor, passes: int, seed: int) -> Scores:
    """Score all windows by every measure."""
    torch.manual_seed(seed)
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for batch in batches(range(len(images)), TOGETHER):
        prediction = method(segmenter, images[batch], passes, seed)
        for entropy, information in zip(
            prediction.predictive_entropy.numpy(), prediction.mutual_information.numpy(), strict=True
        ):
            maps = {"predictive_entropy": entropy, "mutual_information": information}
            for measure, value in score_patch(maps, np.ones(entropy.shape, dtype=bool)).items():
                found[measure].append(value)
    return {measure: np.array(values) for measure, values in found.items()}


def common(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Share that the top tenths of two scorings have in common."""
    count = len(one) // 10
    return len(set(np.argsort(-one)[:count]) & set(np.argsort(-other)[:count])) / count


def agreement(runs: Sequence[Scores], reference: Scores, measure: str) -> tuple[float, float]:
    """Mean agreement of the pairs of runs, and of the runs with the reference."""
    pairs = [common(one[measure], other[measure]) for one, other in itertools.combinations(runs, 2)]
    return float(np.mean(pairs)), float(np.mean([common(run[measure], reference[measure]) for run in runs]))


def main() -> None:
    """Measure, print the table, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--reference", type=int, default=200, help="independent passes of the reference")
    given = parser.parse_args()
    rows = []
    for seed in range(given.scenes):
        with tempfile.TemporaryDirectory() as folder:
            segmenter, images = trained(seed, Path(folder))
        reference = scores(independent, segmenter, images, given.reference, 10_000)
        for (name, method), passes in itertools.product(METHODS.items(), PASSES):
            runs = [scores(method, segmenter, images, passes, 100 + number) for number in range(given.runs)]
            for measure in MEASURES:
                pairs, with_reference = agreement(runs, reference, measure)
                row = {"scene": seed, "masks": name, "passes": passes, "measure": measure}
                rows.append(row | {"between runs": pairs, "with reference": with_reference})
            print(json.dumps(rows[-len(MEASURES) :]), flush=True)
    print(f"\nAgreement on the top tenth of {len(images)} patches, between two runs, mean over {given.scenes} scenes\n")
    print("| measure | masks | " + " | ".join(f"T = {passes}" for passes in PASSES) + " |")
    print("|---|---|" + "---:|" * len(PASSES))
    for measure, name in itertools.product(MEASURES, METHODS):
        of_kind = [row for row in rows if row["measure"] == measure and row["masks"] == name]
        means = [np.mean([row["between runs"] for row in of_kind if row["passes"] == passes]) for passes in PASSES]
        print(f"| `{measure}` | {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    BENCH.mkdir(parents=True, exist_ok=True)
    report = {"name": "ranking_agreement", "reference": given.reference, "runs": given.runs, "rows": rows}
    (BENCH / "ranking_agreement.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
