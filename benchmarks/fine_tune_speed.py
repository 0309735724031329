"""How fast is a step of fine-tuning beside a plain PyTorch loop, and does it learn the same?

``python -m benchmarks.fine_tune_speed [--sizes N ...] [--rounds N] [--seeds N] [--threads N]``

The plain loop (`benchmarks.plain_training`) computes in float32. It comes twice: one reads its windows from GeoTIFFs
through `SceneReader` whenever they are drawn, the other holds them in memory, as ours does (`models.training.fit`),
which computes in bfloat16 where the processor does. The headline is over the latter, on the smallest patches. Labels,
network, loss, optimiser, schedule, augmentation, steps and batches are the same. Patches of 64 px are of the Everest
scene (4 bands), larger ones of a synthetic scene with the 15 channels of Baraka et al. The methods take turns; what is
told is the median over the rounds of the ratios within a round. Memory is kept from step to step as in the workers
(`cli.plan`), for all of them.

Quality: the network and the steps of the demo from fresh weights on 30 patches of the Everest pool, and the mean IoU on
its test strip, seed by seed; both plain loops learn the same. Writes ``var/bench/fine_tune_speed.json``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.label_efficiency import Task
from benchmarks.plain_training import FilesOfPatches, PatchesInMemory, plain_fit
from benchmarks.report import BENCH, Result, markdown, publish, take_turns, times_as_fast
from catalog.records import Label, Patch, Scene
from catalog.settings import Settings
from cli.demo import DEMO_SETTINGS
from cli.plan import KEEP_MEMORY
from imagery.channels import CHANNEL_SETS
from imagery.classes import CLASSES, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Grid, Window, tile
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff, rasterize_outlines
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.store import RasterStore
from imagery.synthetic import write_scene
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import TrainingConfig, fit
from workers.labelled_patches import LabelledPatchDataset
from workers.recipe import training_config

Fit = Callable[[GlacierSegmenter, TrainingConfig], list[float]]
Precision = Literal["float32", "bfloat16"]

CPU: Final = torch.device("cpu")
FILES: Final = "plain loop, reads when it draws"
HELD: Final = "plain loop, windows in memory"
HEADLINE: Final = "ours, bfloat16"
OURS: Final[dict[str, Precision]] = {"ours, float32": "float32", HEADLINE: "bfloat16"}
LABELS: Final = 30
EVEREST_PX: Final = 64
# Patches in a step and steps in a round: as many as keep a round to seconds.
BATCH_AND_STEPS: Final = {64: (8, 20), 256: (8, 4), 512: (2, 4)}


@dataclass(frozen=True)
class Ground:
    """Labelled patches of one size, with the masks of the truth in a store."""

    labels: Sequence[Label]
    channels: tuple[str, ...]
    store: RasterStore
    source: SceneSource

    def fresh(self) -> GlacierSegmenter:
        """Build the default network with fresh weights."""
        preset = PRESETS["default"]
        found = channel_statistics([(self.source, [self.source.grid.window])], self.channels)
        shape = preset.network(len(self.channels), len(CLASSES), preset.head)
        return build_segmenter(self.channels, found.mean, found.std, shape, 0, preset.head)


def ground_of(size: int, folder: Path) -> Ground:
    """Prepare the patches of a size, below a folder."""
    if size == EVEREST_PX:
        everest = prepare(folder)
        source = describe(everest.bands, everest.regions["pool"])
        truth = rasterize_outlines(everest.outlines, source.grid)
        channels = source.band_names
    else:
        scene = write_scene(folder / "synthetic", 2 * 512, 3 * 512, seed=0)
        source = describe(scene.bands, dem=scene.dem)
        truth = read_map(str(scene.truth), source.grid.window)
        channels = CHANNEL_SETS["baraka"]
    store, row = RasterStore(str(folder / f"store-{size}")), Scene(id=1, source=source.to_json())
    windows = tile(source.grid.width, source.grid.height, size)
    labels = [_label(store, row, source.grid, window, truth[window.slices]) for window in windows]
    return Ground(labels, channels, store, source)


def _label(store: RasterStore, scene: Scene, grid: Grid, window: Window, mask: NDArray[np.uint8]) -> Label:
    key = f"{window.row_off}-{window.col_off}.tif"
    store.put(key, mask_to_geotiff(mask, grid, window))
    patch = Patch(scene=scene, scene_id=scene.id, row_off=window.row_off, col_off=window.col_off, size_px=window.height)
    return Label(patch=patch, mask_key=key)


def methods(ground: Ground, labels: Sequence[Label], dataset: LabelledPatchDataset) -> dict[str, Fit]:
    """All methods by name, each as a function of a network, trained in place, and a configuration."""
    files = FilesOfPatches(labels, ground.channels, ground.store)
    ours: dict[str, Fit] = {name: partial(_fit, dataset, precision) for name, precision in OURS.items()}
    return {FILES: partial(_plain_fit, files), HELD: partial(_plain_fit, PatchesInMemory(files)), **ours}


def _plain_fit(
    patches: FilesOfPatches | PatchesInMemory, segmenter: GlacierSegmenter, config: TrainingConfig
) -> list[float]:
    return plain_fit(segmenter, patches, len(patches), config)


def _fit(
    dataset: LabelledPatchDataset, precision: Precision, segmenter: GlacierSegmenter, config: TrainingConfig
) -> list[float]:
    return fit(segmenter, dataset, replace(config, precision=precision), CPU, UNKNOWN.value)


def speed(size: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Time a step at a patch size: one row a method. How long ours took to read the patches before is told."""
    ground = ground_of(size, folder)
    labels = ground.labels[:LABELS]
    batch, steps = BATCH_AND_STEPS[size]
    config = TrainingConfig(steps=steps, batch_size=batch, balance=False)
    dataset = LabelledPatchDataset(labels, ground.channels, ground.store)
    started = time.perf_counter()
    dataset.fill()
    read_s = time.perf_counter() - started
    of = methods(ground, labels, dataset)
    networks = {name: ground.fresh() for name in of}
    seconds = take_turns({name: partial(of[name], networks[name], config) for name in of}, rounds)
    rows: list[dict[str, Any]] = []
    for name in of:
        over_files, _ = times_as_fast(seconds, name, over=FILES)
        ratio, (lowest, highest) = times_as_fast(seconds, name, over=HELD)
        measured = {"s a step": statistics.median(seconds[name]) / steps, "x reading": over_files, "x in memory": ratio}
        spread = {"lowest": lowest, "highest": highest}
        before = {"patches": len(labels), "s to read them before": read_s if name in OURS else None}
        rows.append({"px": size, "batch": batch, "method": name, **measured, **spread, **before})
    return rows


def headline(timed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Find the row that the whole is told by: ours in bfloat16 on the smallest patches."""
    return min((row for row in timed if row["method"] == HEADLINE), key=lambda row: int(row["px"]))


def quality(seeds: int, folder: Path) -> list[dict[str, Any]]:
    """Train the demo's network by each method: final loss and mean IoU on the two strips, one row a seed and method."""
    settings = Settings(**DEMO_SETTINGS)  # type: ignore[arg-type]  # strings, as from the environment
    task = Task(folder / "everest", settings)
    ground = ground_of(EVEREST_PX, folder)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(len(ground.labels))[:LABELS]
        labels = [ground.labels[index] for index in drawn]
        dataset = LabelledPatchDataset(labels, ground.channels, ground.store)
        config = replace(training_config(settings, seed), balance=False)
        of = methods(ground, labels, dataset)
        for name in (HELD, *OURS):
            segmenter = task.fresh(seed)
            losses = of[name](segmenter, config)
            scores = {role: task.evaluate(segmenter, role).mean_iou for role in ("validation", "test")}
            rows.append({"seed": seed, "method": name, "loss": statistics.mean(losses[-20:]), **scores})
    return rows


def compared(learnt: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Summarise the quality: of each method the mean over the seeds, and what it differs by from the plain loop."""
    rows = []
    for name in (HELD, *OURS):
        row: dict[str, Any] = {"method": name}
        for figure in ("loss", "validation", "test"):
            own, plain = ([each[figure] for each in learnt if each["method"] == of] for of in (name, HELD))
            differences = [a - b for a, b in zip(own, plain, strict=True)]
            row |= {figure: statistics.mean(own), f"{figure} - plain": mean_and_deviation(differences)}
        rows.append(row)
    return rows


def mean_and_deviation(values: Sequence[float]) -> str:
    """Set the mean of values with their standard deviation, where there are several."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.3f}{spread}"


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sizes", type=int, nargs="+", default=list(BATCH_AND_STEPS), choices=list(BATCH_AND_STEPS))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--seeds", type=int, default=8, help="of the comparison of quality")
    return made


def main() -> None:
    """Measure in a process whose allocator is set, print the tables, write the report."""
    given = parser().parse_args()
    if any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        command = [sys.executable, "-m", "benchmarks.fine_tune_speed", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env={**os.environ, **KEEP_MEMORY}, check=False).returncode)
    torch.set_num_threads(given.threads)
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as name:
        folder = Path(name).resolve()
        timed = [row for size in given.sizes for row in speed(size, given.rounds, folder)]
        print(markdown(timed), flush=True)
        learnt = quality(given.seeds, folder)
        print(f"\n{markdown(compared(learnt))}")
    told = headline(timed)
    publish(
        Result(
            name="fine_tune_speed",
            figures=[*timed, *learnt],
            baseline=HELD,
            ratio=told["x in memory"],
            spread=(told["lowest"], told["highest"]),
            seeds=list(range(given.seeds)),
            conditions={"threads": given.threads, "rounds": given.rounds, "network": "default preset"},
        )
    )


if __name__ == "__main__":
    main()
