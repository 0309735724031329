"""How fast are T passes of Monte Carlo dropout, beside the naive loop and replication in memory, on one core?

``python -m benchmarks.scoring_speed [--size N] [--passes T] [--rounds N]``

Baraka's U-Net with 15 channels, fresh weights. The methods take turns, and what is told is the median over the rounds
of the ratios within a round, so that a drift of the machine meets all alike. Memory is kept from pass to pass as in the
workers (`cli.plan`), which favours the naive loop most. Writes ``var/bench/scoring_speed.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from benchmarks.plain_dropout import naive, replicated
from cli.plan import KEEP_MEMORY
from models.inference import place
from models.mc_dropout import McPrediction, predict_mc
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter

BENCH: Final = Path("var/bench")
CHANNELS: Final = 15

Method = Callable[[GlacierSegmenter, torch.Tensor, int], McPrediction]
METHODS: Final[dict[str, Method]] = {
    "naive loop": naive,
    "replicated in memory": replicated,
    "ours, float32": lambda segmenter, images, passes: predict_mc(segmenter, images, passes, 0),
    "ours, bfloat16": lambda segmenter, images, passes: predict_mc(segmenter, images, passes, 0, torch.bfloat16),
}
PLAIN: Final = ("naive loop", "replicated in memory")


def network(*, channels_last: bool) -> GlacierSegmenter:
    """Baraka's U-Net with fresh weights; ours is placed as the workers do."""
    preset = PRESETS["baraka"]
    names = [f"channel {index}" for index in range(CHANNELS)]
    shape = preset.network(CHANNELS, 3, preset.head)
    segmenter = build_segmenter(names, [0.0] * CHANNELS, [1.0] * CHANNELS, shape, 0, preset.head)
    return place(segmenter, torch.device("cpu")) if channels_last else segmenter


def measure(size: int, passes: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each method in each round."""
    torch.set_num_threads(1)
    images = torch.randn(1, CHANNELS, size, size, generator=torch.Generator().manual_seed(0))
    networks = {name: network(channels_last=name not in PLAIN) for name in METHODS}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for round_number in range(rounds + 1):
        for name, method in METHODS.items():
            started = time.perf_counter()
            method(networks[name], images, passes)
            if round_number:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], method: str, over: str) -> float:
    """How many times as fast a method is as another: the median over the rounds."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[method], strict=True))


def main() -> None:
    """Measure in a process whose allocator is set, print the table, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the patch, pixels")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        command = [sys.executable, "-m", "benchmarks.scoring_speed", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env={**os.environ, **KEEP_MEMORY}, check=False).returncode)
    seconds = measure(given.size, given.passes, given.rounds)
    print(f"One patch of {CHANNELS} x {given.size} x {given.size}, T = {given.passes}, one thread\n")
    print("| method | seconds (median) | x naive loop | x replicated |\n|---|---:|---:|---:|")
    rows = []
    for name in METHODS:
        row = {
            "method": name,
            "seconds": statistics.median(seconds[name]),
            **{f"times as fast as {over}": ratio(seconds, name, over) for over in PLAIN},
        }
        rows.append(row)
        print(
            f"| {name} | {row['seconds']:.2f} | " + " | ".join(f"{ratio(seconds, name, o):.2f}" for o in PLAIN) + " |"
        )
    BENCH.mkdir(parents=True, exist_ok=True)
    report = {"name": "scoring_speed", "size": given.size, "passes": given.passes, "rows": rows, "seconds": seconds}
    (BENCH / "scoring_speed.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
