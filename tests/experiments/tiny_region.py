"""A tiny region whose bands say the class plainly: 12 patches of 32 px in its pool, four in each of the other parts."""

import numpy as np

from experiments.learner import LoopConfig
from experiments.region import Raster, Region
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN

TINY = LoopConfig(round_size=2, start_rounds=1, chosen_rounds=2, steps=2, depth=2, width=2, passes=2)
PATCH_PX = 32


def raster(height: int, width: int, seed: int) -> Raster:
    """Return noisy ground: its left half ice, the lower part of that under debris, a cloud in a corner."""
    truth = np.zeros((height, width), dtype=np.uint8)
    truth[:, : width // 2] = CLEAN_ICE.value
    truth[height // 2 :, : width // 2] = DEBRIS_COVERED_ICE.value
    unmasked = np.ones(truth.shape, dtype=np.bool_)
    unmasked[:5, :5] = False
    noise = np.random.default_rng(seed).normal(0, 10, (3, height, width))
    image = (noise + 100.0 + 60.0 * truth).astype(np.float32)
    image[:, ~unmasked] = np.nan
    truth[~unmasked] = UNKNOWN
    return Raster(image, truth, truth, unmasked)


def tiny_region(name: str = "tiny") -> Region:
    """Return a region with two rasters in its pool."""
    parts = {"pool": (raster(96, 64, 1), raster(64, 96, 2)), "validation": (raster(64, 64, 3),)}
    return Region(name, GLACIER_SCHEME, ("red", "nir", "slope"), {**parts, "test": (raster(64, 64, 4),)}, PATCH_PX)


def load_tiny(name: str) -> Region:
    """Return the region by any name, as processes of a simulation load it."""
    return tiny_region(name)
