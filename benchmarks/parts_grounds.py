"""The ground on which `benchmarks.parts` compares: Everest, and synthetic scenes in which ice is rare."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window, tile
from imagery.maps import read_map
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.synthetic import write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares
from workers.windows import read_batch

PATCH_PX = 64
RARE = Shares(clean_ice=0.06, debris_covered_ice=0.02, masked=0.02)
CHANNELS = ("blue", "green", "red", "nir", "swir1", "swir2", "elevation", "slope")
SIZES = {"pool": (640, 832), "validation": (320, 320), "test": (448, 448)}


@dataclass(frozen=True)
class Ground:
    """Ground with its true classes: a pool in patches, and more ground to validate and to test on.

    Attributes:
        channels: What the networks are given.
        sources: The ground by role: "pool", "validation", "test".
        truth: True classes (H, W) by role.
        windows: The N patches of the pool.
        images: (N, C, h, w) their channels.
        masks: (N, h, w) their true classes, `UNKNOWN` under cloud.
    """

    channels: tuple[str, ...]
    sources: dict[str, SceneSource]
    truth: dict[str, NDArray[np.uint8]]
    windows: list[Window]
    images: Tensor
    masks: NDArray[np.uint8]


def everest(folder: Path) -> Ground:
    """Return the Everest scene, divided as in the demo."""
    scene = prepare(folder)
    sources = {role: describe(scene.bands, window) for role, window in scene.regions.items()}
    truth = {role: rasterize_outlines(scene.outlines, at.grid, GLACIER_SCHEME) for role, at in sources.items()}
    return _cut(tuple(sources["pool"].band_names), sources, truth)


def synthetic(folder: Path, seed: int) -> Ground:
    """Return three synthetic scenes in which most patches have no ice, so that each has both classes."""
    sources, truth = {}, {}
    for number, (role, (height, width)) in enumerate(SIZES.items()):
        scene = write_scene(folder / role, height, width, seed + 100 * number, SyntheticOptions(shares=RARE))
        sources[role] = describe(scene.bands, dem=scene.dem)
        truth[role] = read_map(str(scene.truth), sources[role].grid.window)
    return _cut(CHANNELS, sources, truth)


def _cut(channels: tuple[str, ...], sources: dict[str, SceneSource], truth: dict[str, NDArray[np.uint8]]) -> Ground:
    pool = sources["pool"]
    windows = list(tile(pool.grid.width, pool.grid.height, PATCH_PX))
    with SceneReader(pool) as reader:
        images = read_batch(reader, channels, windows)
    masks = np.stack([truth["pool"][window.slices] for window in windows])
    missing = (~torch.isfinite(images)).any(dim=1).numpy()
    return Ground(channels, sources, truth, windows, images, np.where(missing, np.uint8(UNKNOWN), masks))
