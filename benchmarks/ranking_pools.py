"""The pools that rankings are compared on: patches of synthetic scenes and of Everest, and networks trained on them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagery.classes import CLASSES, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window, tile
from imagery.maps import read_map
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from workers.windows import read_batch

PATCH_PX: Final = 64
DEPTH: Final = 3  # of the networks; the demonstration's


@dataclass(frozen=True)
class Pool:
    """The patches of a scene.

    Attributes:
        source: The scene.
        channels: Names of the C channels that the networks see.
        images: (N, C, 64, 64) float32 digital numbers, NaN = nodata.
        truth: (N, 64, 64) uint8 classes.
    """

    source: SceneSource
    channels: tuple[str, ...]
    images: Tensor
    truth: Tensor


def synthetic_pool(folder: Path, side_px: int, seed: int) -> Pool:
    """Cut a synthetic scene with 15 channels into patches; its files go to a folder."""
    scene = write_scene(folder, side_px, side_px, seed)
    source = describe(scene.bands, dem=scene.dem)
    grid = source.grid
    truth = read_map(str(scene.truth), Window(0, 0, grid.height, grid.width))
    return _pool(source, source.channel_names, truth)


def everest_pool(folder: Path) -> Pool:
    """Cut the whole Everest scene into patches; its truth goes to a folder."""
    scene = prepare(folder)
    source = describe(scene.bands)
    return _pool(source, source.band_names, rasterize_outlines(scene.outlines, source.grid))


def train(pool: Pool, labels: int, seed: int) -> GlacierSegmenter:
    """Train the default network, of less depth, on so many patches drawn at random."""
    windows = tile(pool.source.grid.width, pool.source.grid.height, PATCH_PX)
    statistics = channel_statistics([(pool.source, windows)], pool.channels)
    preset = PRESETS["default"]
    shape = replace(preset.network(len(pool.channels), len(CLASSES), preset.head), depth=DEPTH)
    segmenter = build_segmenter(pool.channels, statistics.mean, statistics.std, shape, seed, preset.head)
    chosen = np.random.default_rng(seed).permutation(len(windows))[:labels].tolist()
    labelled = [(pool.images[index], pool.truth[index]) for index in chosen]
    fit(segmenter, labelled, replace(preset.training, seed=seed), torch.device("cpu"), UNKNOWN.value)
    return segmenter


def _pool(source: SceneSource, channels: tuple[str, ...], truth: NDArray[np.uint8]) -> Pool:
    windows = tile(source.grid.width, source.grid.height, PATCH_PX)
    with SceneReader(source) as reader:
        images = read_batch(reader, channels, windows)
    return Pool(source, channels, images, torch.from_numpy(np.stack([truth[window.slices] for window in windows])))
