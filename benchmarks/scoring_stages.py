"""The measurements of `benchmarks.scoring_speed`, each run in a process of its own.

``python -m benchmarks.scoring_stages STAGE NUMBER...`` prints the result of a stage as JSON.
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
from models.inference import place
from models.mc_dropout import McPrediction, McSampler
from models.presets import PRESETS, Architecture
from models.segmenter import GlacierSegmenter, build_segmenter

CHANNELS: Final = 15
SMALL_PX: Final = 64
SMALL_PATCHES: Final = 256
SMALL_BATCH: Final = 64  # patches that the naive loop takes at once: as many pixels as one patch of 512 px


def seconds_of_one(size: int, passes: int, rounds: int, steps: int) -> dict[str, Any]:
    """Time all methods on one patch, and the preparation of the weights; with ``steps`` also single optimisations."""
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
            "ours, float32, no map left out": _all_maps(exact, placed, images, passes),
            "ours, bfloat16, no map left out": _all_maps(rounded, placed, images, passes),
        }
    return {"seconds": take_turns(methods, rounds), "prepared": prepared}


def seconds_of_small(passes: int, rounds: int) -> dict[str, Any]:
    """Time all methods on many small patches with the default network."""
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
    """Score patches one after the other; return the peak memory of the process."""
    sampler = McSampler(_placed("baraka"))
    for _ in range(patches):
        _ours(sampler, _images(1, size), passes)()
    return {"peak_mib": peak_mib()}


def peak_of_replicated(size: int, passes: int) -> dict[str, Any]:
    """Score one patch with the images replicated in memory; return the peak memory of the process."""
    replicated(_network("baraka"), _images(1, size), passes)
    return {"peak_mib": peak_mib()}


def _ours(sampler: McSampler, images: Tensor, passes: int) -> Callable[[], McPrediction]:
    """Return a call of our method, with masks drawn before; all patches share them."""
    masks = sampler.draw(passes, seed=0)
    return lambda: sampler.sample(images, masks).prediction()


def _all_maps(sampler: McSampler, network: GlacierSegmenter, images: Tensor, passes: int) -> Callable[[], McPrediction]:
    """Return the same call with masks that keep every map: its time if dropped maps were multiplied by 0."""
    masks = McSampler(network, p=0.0).draw(passes, seed=0)
    return lambda: sampler.sample(images, masks).prediction()


def _network(name: Architecture) -> GlacierSegmenter:
    """Return the network of a preset with fresh weights."""
    preset = PRESETS[name]
    channels = [f"channel {index}" for index in range(CHANNELS)]
    shape = preset.network(CHANNELS, 3, preset.head)
    return build_segmenter(channels, [0.0] * CHANNELS, [1.0] * CHANNELS, shape, 0, preset.head)


def _placed(name: Architecture) -> GlacierSegmenter:
    """Return the same network, prepared for inference as in the workers."""
    return place(_network(name), torch.device("cpu"))


def _images(count: int, size: int) -> Tensor:
    return torch.randn(count, CHANNELS, size, size, generator=torch.Generator().manual_seed(0))


STAGES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    function.__name__: function for function in (seconds_of_one, seconds_of_small, peak_of_ours, peak_of_replicated)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(STAGES[sys.argv[1]](*map(int, sys.argv[2:]))))
