"""Small seeded networks and images for the tests of this room."""

from typing import Any

import torch
from torch import Tensor

from models.segmenter import GlacierSegmenter, build_segmenter
from models.unet import UNetConfig

CHANNELS = ("red", "nir")
MEAN = (100.0, 50.0)
STD = (20.0, 10.0)


def small_segmenter(seed: int = 0, **settings: Any) -> GlacierSegmenter:
    """Two channels, three classes, two levels of four maps, dropout 0.3."""
    config = UNetConfig(**{"in_channels": 2, "depth": 2, "width": 4, **settings})
    return build_segmenter(CHANNELS, MEAN, STD, config, seed)


def raw_images(count: int = 3, height: int = 16, width: int = 24, seed: int = 0) -> Tensor:
    """Digital numbers around the means of `small_segmenter`, with a corner of nodata in each image."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 2, height, width, generator=generator)
    raw = normal * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    raw[:, :, :3, :5] = float("nan")
    return raw
