"""Does choosing patches pay? The recipe compared with random patches and with all labels, on the Everest scene.

``python -m benchmarks.label_efficiency [--seeds N] [--rounds N]``

Runs the loop of the demo without its services: the same networks, training, measures, choice and gate, on one thread.
Networks train in float32, as those of the demo do on several threads (`TrainingConfig.settled`), so that the result
does not depend on the processor; they score in the precision that the workers pick (`pick_precision`). Prints the table
of ``docs/benchmarks.md``.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import Result, publish
from catalog.candidates import Candidate
from catalog.records import SceneRole
from catalog.settings import Settings, Strategy
from cli.demo import DEMO_SETTINGS
from cli.everest import PATCH_SIZE_PX
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window, tile
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from models.block_counts import SceneBlocks, block_side
from models.inference import pick_precision
from models.mc_dropout import predict_mc
from models.measures import score_patch
from models.segmenter import GlacierSegmenter
from models.training import TrainingConfig, fit
from services import strategies
from services.acquisition import Pool
from workers.evaluation import Evaluation
from workers.judgement import Champion, judge_version
from workers.recipe import fresh_network, training_config
from workers.windows import batches, predict_classes, read_batch

CPU = torch.device("cpu")
CEILING_STEPS = 750  # as many as five rounds


@dataclass(frozen=True)
class Region:
    """A part of the scene with its true classes (H, W)."""

    source: SceneSource
    truth: NDArray[np.uint8]


class Task:
    """The Everest scene: its pool cut into patches, and its validation and test strips.

    Args:
        folder: Gets the files of the truth.
        settings: Settings of the demo.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        everest = prepare(folder)
        sources = {role: describe(everest.bands, window) for role, window in everest.regions.items()}
        self.regions = {
            role: Region(source, rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME))
            for role, source in sources.items()
        }
        pool = self.regions["pool"]
        self.windows = tile(pool.source.grid.width, pool.source.grid.height, PATCH_SIZE_PX)
        with SceneReader(pool.source) as reader:
            self.images = read_batch(reader, pool.source.band_names, self.windows)
        self.masks = torch.from_numpy(np.stack([pool.truth[window.slices] for window in self.windows]))

    def fresh(self, seed: int) -> GlacierSegmenter:
        """Return a network with fresh weights and the channel statistics of the pool."""
        source = self.regions["pool"].source
        whole = Window(0, 0, source.grid.height, source.grid.width)
        statistics_of_pool = channel_statistics([(source, [whole])], source.band_names)
        return fresh_network(self.settings, source.band_names, statistics_of_pool, seed, GLACIER_SCHEME.ranked)

    def train(self, segmenter: GlacierSegmenter, labelled: Sequence[int], config: TrainingConfig) -> None:
        """Train a network in place on some patches with their true classes, in float32."""
        patches = [(self.images[i], self.masks[i]) for i in labelled]
        fit(segmenter, patches, replace(config, precision="float32"), CPU, UNKNOWN)

    @property
    def scoring_precision(self) -> torch.dtype:
        """The precision in which the workers score on this processor."""
        return pick_precision(CPU, self.settings.mc_precision)

    def evaluate(self, segmenter: GlacierSegmenter, role: str) -> Evaluation:
        """Return what a network gets right on a whole region."""
        region = self.regions[role]
        size = (region.source.grid.height, region.source.grid.width)
        blocks = SceneBlocks.empty(size, len(GLACIER_SCHEME.classes), block_side([size]))
        predicted = predict_classes(
            segmenter, region.source, PATCH_SIZE_PX, self.settings.inference_batch_size, UNKNOWN
        )
        blocks.add(predicted, region.truth, 0, UNKNOWN)
        return Evaluation.of([blocks], GLACIER_SCHEME.names)

    def mean_iou(self, segmenter: GlacierSegmenter) -> float:
        """Return the mean IoU of a network on the test region.

        Raises:
            ValueError: It is undefined, because the truth is unknown everywhere in the region.
        """
        found = self.evaluate(segmenter, "test").metrics.mean_iou
        if found is None:
            raise ValueError("found no judged pixel in the test region, expected the truth of the Everest scene")
        return found

    def candidates(self, free: Sequence[int], segmenter: GlacierSegmenter | None, seed: int) -> list[Candidate]:
        """Return the unlabelled patches as candidates, with the scores of a network if one is given."""
        scores: dict[int, float] = {}
        if segmenter is not None:
            for batch in batches(free, self.settings.inference_batch_size):
                images, dtype = self.images[batch], self.scoring_precision
                prediction = predict_mc(segmenter, images, self.settings.mc_passes, seed, dtype)
                for i, entropy, information in zip(
                    batch, prediction.predictive_entropy.numpy(), prediction.mutual_information.numpy(), strict=True
                ):
                    maps = {"predictive_entropy": entropy, "mutual_information": information}
                    scores[i] = score_patch(maps, np.ones(entropy.shape, dtype=bool))[Strategy.ENTROPY_TOP10.value]
        return [
            Candidate(i, 1, self.windows[i].row_off, self.windows[i].col_off, PATCH_SIZE_PX, scores.get(i))
            for i in free
        ]


def run_loop(task: Task, ranking: Strategy, rounds: int, seed: int) -> list[float]:
    """Return the mean IoU on the test region of the version that is served after each round of the loop."""
    settings = task.settings
    learner: GlacierSegmenter | None = None
    champion: Champion | None = None
    labelled: list[int] = []
    curve = []
    for number in range(1, rounds + 1):
        strategy = Strategy.RANDOM if number <= settings.random_start_rounds else ranking
        free = [i for i in range(len(task.windows)) if i not in labelled]
        ranked_by = None if strategy is Strategy.RANDOM else learner
        candidates = task.candidates(free, ranked_by, seed)
        pool = Pool.of(candidates, settings.round_size, settings.control_share, seed * 100 + number)
        choices = strategies.get(strategy).choose(pool)
        labelled += [choice.patch_id for choice in choices]
        candidate = task.fresh(seed)
        if learner is not None:
            candidate.load_state_dict(learner.state_dict())
        task.train(candidate, labelled, training_config(settings, seed * 100 + number))
        learner = candidate
        found = {SceneRole.VALIDATION: task.evaluate(candidate, "validation")}
        if judge_version(found, len(labelled), champion, GLACIER_SCHEME.names, settings).verdict.promoted:
            champion = Champion(number, len(labelled), found)
            curve.append(task.mean_iou(candidate))
        else:
            curve.append(curve[-1])
    return curve


def ceiling(task: Task, seed: int) -> float:
    """Return the mean IoU on the test region after training on every patch of the pool."""
    segmenter = task.fresh(seed)
    config = training_config(task.settings.model_copy(update={"fine_tune_steps": CEILING_STEPS}), seed)
    task.train(segmenter, range(len(task.windows)), config)
    return task.mean_iou(segmenter)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--rounds", type=int, default=5)
    return made


def main() -> None:
    """Run everything, print the table, write the report."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    settings = Settings(**DEMO_SETTINGS)  # type: ignore[arg-type]  # strings, as from the environment
    folder = settings.var_dir / "bench"
    task = Task(folder / "everest", settings)
    started = time.monotonic()
    curves: dict[str, list[list[float]]] = {"recipe": [], "random": []}
    ceilings = []
    for seed in range(arguments.seeds):  # interleaved, so that a drift of the machine affects both
        curves["recipe"].append(run_loop(task, Strategy.ENTROPY_TOP10, arguments.rounds, seed))
        curves["random"].append(run_loop(task, Strategy.RANDOM, arguments.rounds, seed))
        ceilings.append(ceiling(task, seed))
        print(f"seed {seed}: {curves['recipe'][-1]} {curves['random'][-1]} ceiling {ceilings[-1]:.3f}", flush=True)
    labels = [settings.round_size * number for number in range(1, arguments.rounds + 1)]
    print("| labels | " + " | ".join(map(str, labels)) + " | all |")
    print("|" + "---|" * (len(labels) + 2))
    for name, runs in curves.items():
        print(f"| {name} | " + " | ".join(_spread(column) for column in zip(*runs, strict=True)) + " | |")
    print("| every patch | " + " | ".join("" for _ in labels) + f" | {_spread(ceilings)} |")
    rows = [
        {
            "chosen by": name,
            "seed": seed,
            **{f"{count} labels": value for count, value in zip(labels, run, strict=True)},
        }
        for name, runs in curves.items()
        for seed, run in enumerate(runs)
    ]
    conditions = {
        "test mean IoU with every patch": ceilings,
        "trained in": "float32",
        "scored in": str(task.scoring_precision).removeprefix("torch."),
        "seconds": round(time.monotonic() - started),
    }
    last = [(chosen[-1], drawn[-1]) for chosen, drawn in zip(curves["recipe"], curves["random"], strict=True)]
    ratios = [chosen / drawn for chosen, drawn in last]
    publish(
        Result(
            "label_efficiency",
            rows,
            "random patches, by mean IoU after the last round",
            statistics.median(ratios),
            (min(ratios), max(ratios)),
            range(arguments.seeds),
            conditions,
        )
    )


def _spread(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
