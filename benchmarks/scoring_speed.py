"""How fast are T passes of Monte Carlo dropout, beside the naive loop and replication in memory, on one core?

``python -m benchmarks.scoring_speed [--size N] [--passes T] [--rounds N]``

Baraka's U-Net with 15 channels, fresh weights, one patch; and 256 patches of 64 px with the default network, a quarter
of the passes. The methods take turns, and what is told is the median over the rounds of the ratios within a round. Ours
prepares its weights and draws its masks beforehand, once for any number of patches, as the workers do.

Twice: with memory kept from pass to pass as in the workers (`cli.plan`), which favours all methods; and as glibc comes,
which gives large arrays back and takes them anew, page by page. The headline is of the first. And the most memory that
a process held, for more passes and more patches. Writes ``var/bench/scoring_speed.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.report import Result, markdown, publish, times_as_fast
from benchmarks.scoring_stages import CHANNELS, SMALL_PATCHES, SMALL_PX
from cli.plan import KEEP_MEMORY

NAIVE: Final = "naive loop"
REPLICATED: Final = "replicated in memory"
HEADLINE: Final = "ours, bfloat16"
MEMORY_PX: Final = 256
STEPS, NO_STEPS = 1, 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--size", type=int, default=512, help="side of the patch, pixels")
    made.add_argument("--passes", type=int, default=20)
    made.add_argument("--rounds", type=int, default=3)
    return made


def main() -> None:
    """Measure, print the tables, write the report."""
    given = parser().parse_args()
    kept = run_stage("seconds_of_one", given.size, given.passes, given.rounds, STEPS)
    stock = run_stage("seconds_of_one", given.size, given.passes, given.rounds, NO_STEPS, keep_memory=False)
    small = run_stage("seconds_of_small", max(1, given.passes // 4), given.rounds)
    patch = f"1 x {given.size} px"
    figures = [
        *speed_rows(kept["seconds"], patch, "memory kept"),
        *speed_rows(stock["seconds"], patch, "as glibc comes"),
        *speed_rows(small["seconds"], f"{SMALL_PATCHES} x {SMALL_PX} px", "memory kept"),
    ]
    memory = memory_rows()
    print(markdown(figures), markdown(memory), sep="\n\n")
    ratio, spread = times_as_fast(kept["seconds"], HEADLINE, over=NAIVE)
    publish(
        Result(
            name="scoring_speed",
            figures=[*figures, *memory],
            baseline=NAIVE,
            ratio=ratio,
            spread=spread,
            seeds=[0],
            conditions={
                "channels": CHANNELS,
                "passes": given.passes,
                "rounds": given.rounds,
                "threads": 1,
                "seconds to prepare the weights, once": kept["prepared"],
            },
        )
    )


def speed_rows(seconds: Mapping[str, Sequence[float]], patches: str, memory: str) -> list[dict[str, object]]:
    """Set the seconds of each method beside those of the plain ones; None where a plain one was not measured."""
    return [
        {
            "patches": patches,
            "memory": memory,
            "method": method,
            "seconds": statistics.median(of_method),
            "x naive": times_as_fast(seconds, method, over=NAIVE)[0],
            "x replicated": times_as_fast(seconds, method, over=REPLICATED)[0] if REPLICATED in seconds else None,
        }
        for method, of_method in seconds.items()
    ]


def memory_rows() -> list[dict[str, object]]:
    """Return the peaks of ours for more passes and more patches, and of replication for more passes."""
    runs = [("ours, float32", 5, 4), ("ours, float32", 40, 4), ("ours, float32", 5, 32), (REPLICATED, 5, 1)]
    rows: list[dict[str, object]] = []
    for method, passes, patches in [*runs, (REPLICATED, 40, 1)]:
        if method == REPLICATED:
            found = run_stage("peak_of_replicated", MEMORY_PX, passes)
        else:
            found = run_stage("peak_of_ours", MEMORY_PX, passes, patches)
        rows.append({"patches": f"{patches} x {MEMORY_PX} px", "method": method, "passes": passes, **found})
    return rows


def run_stage(stage: str, *numbers: int, keep_memory: bool = True) -> dict[str, Any]:
    """Run one of `benchmarks.scoring_stages` in a process of its own."""
    bare = {name: value for name, value in os.environ.items() if name not in KEEP_MEMORY}
    command = [sys.executable, "-m", "benchmarks.scoring_stages", stage, *map(str, numbers)]
    done = subprocess.run(
        command, env={**bare, **(KEEP_MEMORY if keep_memory else {})}, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
