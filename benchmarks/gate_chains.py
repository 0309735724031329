"""Rounds of real fine-tunes for the benchmark of the gate: versions, and their counts on validation and test ground.

A chain is a region, a seed and a way of labelling. In each round a batch of random patches is labelled and a small
network is fine-tuned on all labels so far, going on from the newest version. What the versions predict on validation
and test ground is stored as confusion matrices of blocks, by which any gate can be replayed (`benchmarks.gate_rounds`),
because the learner's path does not depend on what is served. One file holds a chain; a stopped run goes on after the
last chain that was written.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window, tile
from imagery.maps import read_map
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares
from models.block_counts import BlockCounts, SceneBlocks, block_side
from models.segmenter import GlacierSegmenter
from models.training import fit
from workers.recipe import fresh_network, training_config
from workers.windows import predict_classes, read_batch

PATCH_PX: Final = 64
WINDOW_PX: Final = 128  # windows of predictions; larger ones than the patches, to save time
ROUND_SIZE: Final = 6
CPU: Final = torch.device("cpu")
CLASSES: Final = len(GLACIER_SCHEME.classes)
CHANNELS: Final = ("blue", "green", "red", "nir", "swir1", "elevation", "slope")
SETTINGS: Final = {"unet_depth": 3, "unet_width": 8, "fine_tune_steps": 60, "inference_batch_size": 8}

Labelling = Literal["careful", "noisy"]

SYNTHETIC: Final = {
    "plain": Shares(),
    "rare ice": Shares(clean_ice=0.06, debris_covered_ice=0.01),
    "much debris": Shares(clean_ice=0.2, debris_covered_ice=0.1),
    "cloudy": Shares(clean_ice=0.25, debris_covered_ice=0.03, masked=0.25),
}
"""Class shares of the synthetic landscapes."""

EVEREST: Final = {
    "Everest, east": {
        "pool": Window(0, 200, 655, 400),
        "validation": Window(0, 600, 655, 200),
        "test": Window(0, 0, 655, 200),
    },
    "Everest, south": {
        "pool": Window(160, 0, 320, 800),
        "validation": Window(480, 0, 175, 800),
        "test": Window(0, 0, 160, 800),
    },
}
"""Windows of the Everest scene by role."""

REGIONS: Final = (*EVEREST, *SYNTHETIC)


@dataclass(frozen=True)
class Ground:
    """A scene with its true classes (H, W)."""

    source: SceneSource
    truth: NDArray[np.uint8]


@dataclass(frozen=True)
class Chain:
    """Which rounds are simulated.

    Attributes:
        region: One of `REGIONS`.
        seed: Of weights, patches and label noise; synthetic regions are another landscape for each seed.
        labelling: "careful": the truth. "noisy": in every third round each label is spoilt with probability 1/2.
        validation_px: Side of a synthetic validation scene, pixels.
    """

    region: str
    seed: int
    labelling: Labelling
    validation_px: int

    @property
    def file_name(self) -> str:
        """Name of the file that holds the chain."""
        return f"{self.region} {self.seed} {self.labelling} {self.validation_px}.json".replace(" ", "_")


class Task:
    """The grounds of a chain, with the windows of its pool."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        """Write or find the scenes."""
        self.settings = Settings(**SETTINGS)  # type: ignore[arg-type]  # values of several types
        everest = chain.region in EVEREST
        self.grounds = _everest(folder, chain.region) if everest else _synthetic(folder, chain)
        self.channels = self.grounds["pool"].source.band_names if everest else CHANNELS
        pool = self.grounds["pool"]
        self.windows = tile(pool.source.grid.width, pool.source.grid.height, PATCH_PX)
        with SceneReader(pool.source) as reader:
            self.images = read_batch(reader, self.channels, self.windows)
        self.masks = [pool.truth[window.slices] for window in self.windows]
        self.statistics = channel_statistics([(pool.source, self.windows)], self.channels)

    def fresh(self, seed: int) -> GlacierSegmenter:
        """Return a network with fresh weights."""
        return fresh_network(self.settings, tuple(self.channels), self.statistics, seed, GLACIER_SCHEME.ranked)

    def train(self, network: GlacierSegmenter, labels: dict[int, NDArray[np.uint8]], seed: int) -> None:
        """Train a network in place on labelled patches (number of the patch -> mask)."""
        patches = [(self.images[number], torch.from_numpy(mask)) for number, mask in labels.items()]
        fit(network, patches, training_config(self.settings, seed), CPU, UNKNOWN)

    def judge(self, network: GlacierSegmenter, role: str) -> BlockCounts:
        """Return the counts of a network's predictions on a ground, by block."""
        ground = self.grounds[role]
        predicted = predict_classes(network, ground.source, WINDOW_PX, self.settings.inference_batch_size, UNKNOWN)
        size = (ground.source.grid.height, ground.source.grid.width)
        blocks = SceneBlocks.empty(size, CLASSES, block_side([size]))
        blocks.add(predicted, ground.truth, 0, UNKNOWN)
        return BlockCounts.of_scenes([blocks])


def run_chain(folder: Path, work: Path, chain: Chain, rounds: int) -> dict[str, Any]:
    """Return the versions of a chain, from its file if it was simulated before.

    Args:
        folder: Holds the files of finished chains.
        work: Folder for scenes.
        chain: Which rounds.
        rounds: How many.
    """
    file = folder / chain.file_name
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if len(found["versions"]) >= rounds:
            return found
    task = Task(work / chain.file_name, chain)
    generator = np.random.default_rng(chain.seed)
    order = generator.permutation(len(task.windows))
    network = task.fresh(chain.seed)
    labels: dict[int, NDArray[np.uint8]] = {}
    versions = []
    for number in range(rounds):
        noisy = chain.labelling == "noisy" and number % 3 == 2
        for patch in order[number * ROUND_SIZE : (number + 1) * ROUND_SIZE]:
            mask = task.masks[patch]
            spoilt = noisy and generator.random() < 0.5
            labels[int(patch)] = spoil(mask, generator) if spoilt else mask
        task.train(network, labels, chain.seed * 1000 + number)
        judged = {role: task.judge(network, role).model_dump() for role in ("validation", "test")}
        versions.append({"labels": len(labels), "noisy": noisy, **judged})
    found = {"region": chain.region, "labelling": chain.labelling, "seed": chain.seed, "versions": versions}
    folder.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.rename(file)
    return found


def spoil(mask: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a label (h, w) as a careless annotator draws it: shifted, with both ice classes exchanged, or empty."""
    how = generator.integers(3)
    if how == 0:
        return np.roll(mask, tuple(generator.integers(4, 13, size=2)), axis=(0, 1))
    if how == 1:
        exchanged = mask.copy()
        exchanged[mask == 1], exchanged[mask == 2] = 2, 1
        return exchanged
    return np.where(mask == UNKNOWN, mask, np.uint8(0))


def _everest(folder: Path, region: str) -> dict[str, Ground]:
    scene = prepare(folder)
    sources = {role: describe(scene.bands, window) for role, window in EVEREST[region].items()}
    return {
        role: Ground(source, rasterize_outlines(scene.outlines, source.grid, GLACIER_SCHEME))
        for role, source in sources.items()
    }


def _synthetic(folder: Path, chain: Chain) -> dict[str, Ground]:
    sides = {"pool": 640, "validation": chain.validation_px, "test": 768}
    grounds = {}
    for number, (role, side) in enumerate(sides.items()):
        options = SyntheticOptions(shares=SYNTHETIC[chain.region])
        written = write_scene(folder / role, side, side, 10 * chain.seed + number, options)
        source = describe(written.bands, dem=written.dem)
        grounds[role] = Ground(source, read_map(str(written.truth), source.grid.window))
    return grounds


def chains(seeds: Sequence[int]) -> list[Chain]:
    """Return the chains of some seeds: every region, careful and noisy labels in turn, validation of two sizes."""
    return [
        Chain(region, seed, "noisy" if (seed + number) % 2 else "careful", 384 if (seed // 2 + number) % 2 else 640)
        for seed in seeds
        for number, region in enumerate(REGIONS)
    ]
