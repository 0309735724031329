"""How fast is a step of fine-tuning on one thread, compared with a plain PyTorch loop, and does it learn the same?

``python -m benchmarks.fine_tune_speed [--sizes N ...] [--rounds N] [--seeds N]``

There are two plain loops (`benchmarks.plain_training`), both in float32: one reads its windows from GeoTIFFs through
`SceneReader` whenever they are drawn, the other holds them in memory. Ours (`models.training.fit`) holds them in memory
and is measured in float32 and in bfloat16. The headline compares ours in bfloat16 with the plain loop in memory, on the
smallest patches. Labels, network, loss, optimiser, schedule, augmentation, steps and batches are the same. Patches of
64 px come from the Everest scene (4 bands), larger ones from a synthetic scene with the 15 channels of Baraka et al.
The methods take turns. Ratios are taken within each round, and their median is reported. All methods use the allocator
settings of the workers (`cli.plan`).

Quality: the network of the demo is trained from fresh weights on 30 patches of the Everest pool, with each seed, and
judged by the mean IoU on the test strip. The two plain loops learn the same, so that only one of them is trained.
Writes ``var/bench/fine_tune_speed.json``.
"""

import argparse
import statistics
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

from benchmarks.everest_task import EverestTask
from benchmarks.memory import restart_with_kept_memory
from benchmarks.plain_training import FilesOfPatches, PatchesInMemory, plain_fit
from benchmarks.report import BENCH, Result, markdown, publish, take_turns, times_as_fast
from catalog.records import Label, Patch, Proposal, Scene
from catalog.settings import Settings
from cli.demo import DEMO_SETTINGS
from imagery.channels import CHANNEL_SETS
from imagery.classes import GLACIER_SCHEME, UNKNOWN
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
from models.training import fit
from models.training_config import TrainingConfig
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
# By patch size: patches in a step, and steps in a round, few enough that a round takes seconds.
BATCH_AND_STEPS: Final = {64: (8, 20), 256: (8, 4), 512: (2, 4)}


@dataclass(frozen=True)
class LabelledScene:
    """The labelled patches of a scene, all of one size.

    Attributes:
        labels: A label for each patch.
        channels: The channels of the network.
        store: The raster store with the masks.
        source: The scene.
    """

    labels: Sequence[Label]
    channels: tuple[str, ...]
    store: RasterStore
    source: SceneSource

    def fresh(self) -> GlacierSegmenter:
        """Return the default network with fresh weights."""
        preset = PRESETS["default"]
        found = channel_statistics([(self.source, [self.source.grid.window])], self.channels)
        shape = preset.network(len(self.channels), len(GLACIER_SCHEME.classes), preset.head)
        return build_segmenter(self.channels, found.mean, found.std, shape, 0, preset.head)


def labelled_scene(size: int, folder: Path) -> LabelledScene:
    """Return a scene whose patches of a size are labelled with the truth; its files go below a folder."""
    if size == EVEREST_PX:
        everest = prepare(folder)
        source = describe(everest.bands, everest.regions["pool"])
        truth = rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME)
        channels = source.band_names
    else:
        scene = write_scene(folder / "synthetic", 2 * 512, 3 * 512, seed=0)
        source = describe(scene.bands, dem=scene.dem)
        truth = read_map(str(scene.truth), source.grid.window)
        channels = CHANNEL_SETS["baraka"]
    store, row = RasterStore(str(folder / f"store-{size}")), Scene(id=1, source=source.to_json())
    windows = tile(source.grid.width, source.grid.height, size)
    labels = [
        _label(number, store, row, source.grid, window, truth[window.slices])
        for number, window in enumerate(windows, start=1)
    ]
    return LabelledScene(labels, channels, store, source)


def _label(number: int, store: RasterStore, scene: Scene, grid: Grid, window: Window, mask: NDArray[np.uint8]) -> Label:
    key = f"{window.row_off}-{window.col_off}.tif"
    store.put(key, mask_to_geotiff(mask, grid, GLACIER_SCHEME, window))
    patch = Patch(scene=scene, scene_id=scene.id, row_off=window.row_off, col_off=window.col_off, size_px=window.height)
    return Label(patch=patch, patch_id=number, proposal=Proposal(), mask_key=key)


def methods(scene: LabelledScene, labels: Sequence[Label], dataset: LabelledPatchDataset) -> dict[str, Fit]:
    """Return all methods by name; each is a function that trains a network in place, by a configuration."""
    files = FilesOfPatches(labels, scene.channels, scene.store)
    ours: dict[str, Fit] = {name: partial(_fit, dataset, precision) for name, precision in OURS.items()}
    return {FILES: partial(_plain_fit, files), HELD: partial(_plain_fit, PatchesInMemory(files)), **ours}


def _plain_fit(
    patches: FilesOfPatches | PatchesInMemory, segmenter: GlacierSegmenter, config: TrainingConfig
) -> list[float]:
    return plain_fit(segmenter, patches, len(patches), config)


def _fit(
    dataset: LabelledPatchDataset, precision: Precision, segmenter: GlacierSegmenter, config: TrainingConfig
) -> list[float]:
    return fit(segmenter, dataset, replace(config, precision=precision), CPU, UNKNOWN)


def speed(size: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Return a row a method: the seconds of a step, and the seconds in which ours read the patches before."""
    scene = labelled_scene(size, folder)
    labels = scene.labels[:LABELS]
    batch, steps = BATCH_AND_STEPS[size]
    config = TrainingConfig(steps=steps, batch_size=batch, balance=False)
    dataset = LabelledPatchDataset(labels, scene.channels, scene.store, GLACIER_SCHEME)
    started = time.perf_counter()
    dataset.fill()
    read_s = time.perf_counter() - started
    of = methods(scene, labels, dataset)
    networks = {name: scene.fresh() for name in of}
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
    """Return the row of the headline: ours in bfloat16 on the smallest patches."""
    return min((row for row in timed if row["method"] == HEADLINE), key=lambda row: int(row["px"]))


def quality(seeds: int, folder: Path) -> list[dict[str, Any]]:
    """Train the demo's network by each method; return its final loss and mean IoU, a row for each seed and method."""
    settings = Settings(**DEMO_SETTINGS)  # type: ignore[arg-type]  # strings, as from the environment
    task = EverestTask(folder / "everest", settings)
    scene = labelled_scene(EVEREST_PX, folder)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(len(scene.labels))[:LABELS]
        labels = [scene.labels[index] for index in drawn]
        dataset = LabelledPatchDataset(labels, scene.channels, scene.store, GLACIER_SCHEME)
        config = replace(training_config(settings, seed), balance=False)
        of = methods(scene, labels, dataset)
        for name in (HELD, *OURS):
            segmenter = task.fresh(seed)
            losses = of[name](segmenter, config)
            scores = {role: task.evaluate(segmenter, role).metrics.mean_iou for role in ("validation", "test")}
            rows.append({"seed": seed, "method": name, "loss": statistics.mean(losses[-20:]), **scores})
    return rows


def compared(learnt: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a method: the means over the seeds, and the differences from the plain loop, paired by seed."""
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
    """Return the mean of values as text, with their standard deviation if there are several."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.3f}{spread}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sizes", type=int, nargs="+", default=list(BATCH_AND_STEPS), choices=list(BATCH_AND_STEPS))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--seeds", type=int, default=8, help="networks in the comparison of quality")
    return made


def main() -> None:
    """Measure, print the tables, write the report."""
    given = parser().parse_args()
    restart_with_kept_memory("fine_tune_speed")
    torch.set_num_threads(1)
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as name:
        folder = Path(name).resolve()
        timed = [row for size in given.sizes for row in speed(size, given.rounds, folder)]
        print(markdown(timed), flush=True)
        learnt = quality(given.seeds, folder)
        print(f"\n{markdown(compared(learnt))}")
    first = headline(timed)
    publish(
        Result(
            name="fine_tune_speed",
            figures=[*timed, *learnt],
            baseline=HELD,
            ratio=first["x in memory"],
            spread=(first["lowest"], first["highest"]),
            seeds=list(range(given.seeds)),
            conditions={"threads": 1, "rounds": given.rounds, "network": "default preset"},
        )
    )


if __name__ == "__main__":
    main()
