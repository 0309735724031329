"""Small seeded networks and images for the tests of this room."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from models.heads import Head, logits_per_network
from models.presets import PRESETS, Architecture
from models.segmenter import GlacierSegmenter, InputNormalization, build_segmenter
from models.unet import UNetConfig

CHANNELS = ("red", "nir")
MEAN = (100.0, 50.0)
STD = (20.0, 10.0)


def small_segmenter(
    seed: int = 0,
    head: Head = "multiclass",
    input_normalization: InputNormalization = "dataset",
    **settings: Any,
) -> GlacierSegmenter:
    """Two channels, three classes, two levels of four maps, dropout 0.3."""
    shape = {"in_channels": 2, "classes": logits_per_network(head, 3), "depth": 2, "width": 4, **settings}
    precedence = None if head == "multiclass" else (1, 2)
    return build_segmenter(CHANNELS, MEAN, STD, UNetConfig(**shape), seed, head, input_normalization, precedence)


def small_preset(name: Architecture) -> GlacierSegmenter:
    """The network of a preset with two channels, two levels of four maps, dropout 0.3, and moved batch norms."""
    preset = PRESETS[name]
    config = replace(preset.network(len(CHANNELS), 3, preset.head), depth=2, width=4, dropout=0.3)
    segmenter = build_segmenter(CHANNELS, MEAN, STD, config, 0, preset.head, preset.input_normalization, (1, 2))
    segmenter.train()(raw_images())  # gives the batch norms statistics other than 0 and 1
    return segmenter.eval()


def raw_images(count: int = 3, height: int = 16, width: int = 24, seed: int = 0) -> Tensor:
    """Digital numbers around the means of `small_segmenter`, with a corner of nodata in each image."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 2, height, width, generator=generator)
    raw = normal * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    raw[:, :, :3, :5] = float("nan")
    return raw
