"""How fast are Monte Carlo passes and training steps on a GPU, compared with the same machine's CPU?

``python -m benchmarks.gpu_speed [--size N] [--passes T] [--rounds N]``

Measured is Baraka's U-Net with 15 channels and fresh weights: seconds a patch of T passes, and seconds a training step.
The methods take turns; the median is reported, with the ratio to the CPU with all its cores. Without a GPU it says so
and writes nothing. Writes ``var/bench/gpu_speed.json``.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import torch

from benchmarks.report import Result, markdown, publish
from models.inference import pick_precision, place
from models.mc_dropout import McSampler
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from models.training_config import TrainingConfig

CHANNELS: Final = tuple(f"c{number}" for number in range(15))
PATCHES: Final = {"cpu": 1, "cuda": 32}
BATCH: Final = 8
STEPS: Final = 4
UNKNOWN: Final = 255


def segmenter_on(device: torch.device) -> GlacierSegmenter:
    """Return Baraka's U-Net with fresh weights on a device."""
    preset = PRESETS["baraka"]
    shape = preset.network(len(CHANNELS), 3, preset.head)
    made = build_segmenter(CHANNELS, [0.0] * 15, [1.0] * 15, shape, 0, preset.head, preset.input_normalization)
    return place(made, device)


def scoring(device: torch.device, precision: torch.dtype, size: int, passes: int) -> Callable[[], float]:
    """Return a function that times T passes on some patches: seconds a patch."""
    sampler = McSampler(segmenter_on(device), precision)
    masks = sampler.draw(passes, seed=0)
    images = torch.randn(PATCHES[device.type], len(CHANNELS), size, size)

    def run() -> float:
        started = time.perf_counter()
        sampler.sample(images, masks).prediction()  # the result comes back to the CPU: nothing is left to wait for
        return (time.perf_counter() - started) / len(images)

    return run


def training(device: torch.device, size: int) -> Callable[[], float]:
    """Return a function that times training steps: seconds a step of 8 patches."""
    patches = [(torch.randn(len(CHANNELS), size, size), torch.randint(0, 3, (size, size), dtype=torch.uint8))] * BATCH
    segmenter, config = segmenter_on(device), TrainingConfig(steps=STEPS, batch_size=BATCH, balance=False)

    def run() -> float:
        started = time.perf_counter()
        fit(segmenter, patches, config, device, UNKNOWN)
        return (time.perf_counter() - started) / STEPS

    return run


def main() -> None:
    """Measure, print the table, write the report."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--size", type=int, default=512, help="side of a patch, pixels")
    made.add_argument("--passes", type=int, default=20)
    made.add_argument("--rounds", type=int, default=3)
    given = made.parse_args()
    if not torch.cuda.is_available():
        print("Found no GPU that torch can use; nothing was measured.")
        return
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    methods: dict[str, Callable[[], float]] = {
        "scoring, CPU": scoring(cpu, pick_precision(cpu), given.size, given.passes),
        "scoring, GPU float32": scoring(gpu, torch.float32, given.size, given.passes),
        "scoring, GPU bfloat16": scoring(gpu, torch.bfloat16, given.size, given.passes),
        "training step, CPU": training(cpu, given.size),
        "training step, GPU": training(gpu, given.size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(given.rounds + 1):
        for name, run in methods.items():
            took = run()
            if number:  # the first round warms up
                seconds[name].append(took)
    figures = [_row(name, taken, seconds) for name, taken in seconds.items()]
    print(markdown(figures))
    ratios = _ratios("scoring, GPU bfloat16", seconds)
    publish(
        Result(
            name="gpu_speed",
            figures=figures,
            baseline="the CPU",
            ratio=round(median(ratios), 1),
            spread=(round(min(ratios), 1), round(max(ratios), 1)),
            seeds=[0],
            conditions=vars(given),
        )
    )


def _ratios(name: str, seconds: dict[str, list[float]]) -> list[float]:
    """Return, round by round, how many times as fast as the CPU a method is."""
    of_cpu = seconds[f"{name.split(',', maxsplit=1)[0]}, CPU"]
    return [cpu / taken for cpu, taken in zip(of_cpu, seconds[name], strict=True)]


def _row(name: str, taken: list[float], seconds: dict[str, list[float]]) -> dict[str, object]:
    return {"method": name, "seconds": round(median(taken), 5), "x CPU": round(median(_ratios(name, seconds)), 1)}


if __name__ == "__main__":
    main()
