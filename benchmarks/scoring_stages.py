"""The measurements of `benchmarks.scoring_speed`, each in a process whose memory is its own.

``python -m benchmarks.scoring_stages STAGE NUMBER...`` prints what a stage returns, as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.memory import peak_mib
from benchmarks.plain_dropout import naive, replicated
from benchmarks.report import take_turns
from models.dropout_masks import draw_masks
from models.inference import place
from models.mc_dropout import McPrediction, McSampler
from models.presets import PRESETS, Architecture
from models.segmenter import GlacierSegmenter, build_segmenter

CHANNELS: Final = 15
SMALL_PX: Final = 64
SMALL_PATCHES: Final = 256
SMALL_BATCH: Final = 64  # of the naive loop: as many pixels as one patch of 512 px


def seconds_of_one(size: int, passes: int, rounds: int, steps: int) -> dict[str, Any]:
    """Time all methods on one patch; with ``steps`` also what single steps give. And the preparation of the weights."""
    images = _images(1, size)
    plain, placed = _network("baraka"), _placed("baraka")
    started = time.perf_counter()
    exact = McSampler(placed)
    prepared = time.perf_counter() - started
    rounded = McSampler(placed, torch.bfloat16)
    methods: dict[str, Callable[[], object]] = {
        "naive loop": lambda: naive(plain, images, passes),
        "replicated in memory": lambda: replicated(plain, images, passes),
        "ours, float32": _ours(exact, images, passes),
        "ours, bfloat16": _ours(rounded, images, passes),
    }
    if steps:
        methods |= {
            "naive loop, channels-last": lambda: naive(placed, images, passes),
            "ours, float32, no map left out": _whole(exact, placed, images, passes),
            "ours, bfloat16, no map left out": _whole(rounded, placed, images, passes),
        }
    return {"seconds": take_turns(methods, rounds), "prepared": prepared}


def seconds_of_small(passes: int, rounds: int) -> dict[str, Any]:
    """Time many small patches, of the default network."""
    images = _images(SMALL_PATCHES, SMALL_PX)
    plain, placed = _network("default"), _placed("default")
    exact, rounded = McSampler(placed), McSampler(placed, torch.bfloat16)
    methods = {
        "naive loop": lambda: [naive(plain, batch, passes) for batch in torch.split(images, SMALL_BATCH)],
        "ours, float32": _ours(exact, images, passes),
        "ours, bfloat16": _ours(rounded, images, passes),
    }
    return {"seconds": take_turns(methods, rounds)}


def peak_of_ours(size: int, passes: int, patches: int) -> dict[str, Any]:
    """Score patches one after the other, and tell the most memory that the process ever held."""
    sampler = McSampler(_placed("baraka"))
    for _ in range(patches):
        _ours(sampler, _images(1, size), passes)()
    return {"peak_mib": peak_mib()}


def peak_of_replicated(size: int, passes: int) -> dict[str, Any]:
    """Score one patch with the images replicated in memory, and tell the most memory that the process ever held."""
    replicated(_network("baraka"), _images(1, size), passes)
    return {"peak_mib": peak_mib()}


def _ours(sampler: McSampler, images: Tensor, passes: int) -> Callable[[], McPrediction]:
    """Ours, with masks drawn beforehand: all patches meet the same."""
    masks = sampler.draw(passes, seed=0)
    return lambda: sampler.sample(images, masks).prediction()


def _whole(sampler: McSampler, network: GlacierSegmenter, images: Tensor, passes: int) -> Callable[[], McPrediction]:
    """The same passes with all maps kept: what they would take if dropped maps were multiplied by 0."""
    depth, width = network.unet.config.depth, network.unet.config.width
    down = [width * 2**level for level in range(depth + 1)]
    masks = [(kept,) for kept in draw_masks([*down, *reversed(down[:-1])], 0.0, passes, seed=0)]
    return lambda: sampler.sample(images, masks).prediction()


def _network(name: Architecture) -> GlacierSegmenter:
    """The network of a preset with fresh weights."""
    preset = PRESETS[name]
    channels = [f"channel {index}" for index in range(CHANNELS)]
    shape = preset.network(CHANNELS, 3, preset.head)
    return build_segmenter(channels, [0.0] * CHANNELS, [1.0] * CHANNELS, shape, 0, preset.head)


def _placed(name: Architecture) -> GlacierSegmenter:
    """The same, placed as the workers do."""
    return place(_network(name), torch.device("cpu"))


def _images(count: int, size: int) -> Tensor:
    return torch.randn(count, CHANNELS, size, size, generator=torch.Generator().manual_seed(0))


STAGES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    function.__name__: function for function in (seconds_of_one, seconds_of_small, peak_of_ours, peak_of_replicated)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(STAGES[sys.argv[1]](*map(int, sys.argv[2:]))))
