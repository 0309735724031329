"""How fast are T passes of Monte Carlo dropout on one core, compared with a naive loop and with a replicated batch?

``python -m benchmarks.scoring_speed [--size N] [--passes T] [--rounds N]``

Measured are Baraka's U-Net with 15 channels and fresh weights on one patch, and the default network on 256 patches of
64 px with a quarter of the passes. The methods take turns. Ratios are taken within each round, and their median is
reported. Our method prepares its weights and draws its masks before the clock starts, as the workers do once for any
number of patches.

The single patch is measured twice: with the allocator of the workers (`cli.plan`), which keeps memory from pass to
pass and makes all methods faster (the headline), and with glibc's defaults, which return large arrays to the system
and map them anew. The peak memory of a process is measured for more passes and for more patches. Writes
``var/bench/scoring_speed.json``.
"""

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.report import Result, markdown, publish, run_stage, times_as_fast
from benchmarks.scoring_stages import CHANNELS, SMALL_PATCHES, SMALL_PX
from cli.plan import KEEP_MEMORY

NAIVE: Final = "naive loop"
REPLICATED: Final = "replicated in memory"
HEADLINE: Final = "ours, bfloat16"
MEMORY_PX: Final = 256
STEPS, NO_STEPS = 1, 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--size", type=int, default=512, help="side of the patch, pixels")
    made.add_argument("--passes", type=int, default=20)
    made.add_argument("--rounds", type=int, default=3)
    return made


def main() -> None:
    """Measure, print the tables, write the report."""
    given = parser().parse_args()
    kept = measure("seconds_of_one", given.size, given.passes, given.rounds, STEPS)
    stock = measure("seconds_of_one", given.size, given.passes, given.rounds, NO_STEPS, keep_memory=False)
    small = measure("seconds_of_small", max(1, given.passes // 4), given.rounds)
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
    """Return a row a method: its seconds, and its ratios to the two plain methods; None if one was not measured."""
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
    """Return the peak memory of our method for more passes and more patches, and of replication for more passes."""
    runs = [("ours, float32", 5, 4), ("ours, float32", 40, 4), ("ours, float32", 5, 32), (REPLICATED, 5, 1)]
    rows: list[dict[str, object]] = []
    for method, passes, patches in [*runs, (REPLICATED, 40, 1)]:
        if method == REPLICATED:
            found = measure("peak_of_replicated", MEMORY_PX, passes)
        else:
            found = measure("peak_of_ours", MEMORY_PX, passes, patches)
        rows.append({"patches": f"{patches} x {MEMORY_PX} px", "method": method, "passes": passes, **found})
    return rows


def measure(stage: str, *numbers: int, keep_memory: bool = True) -> dict[str, Any]:
    """Run a stage of `benchmarks.scoring_stages` in a fresh process, with or without the workers' allocator."""
    bare = {name: value for name, value in os.environ.items() if name not in KEEP_MEMORY}
    environment = {**bare, **(KEEP_MEMORY if keep_memory else {})}
    return run_stage("scoring_stages", stage, *map(str, numbers), environment=environment)


if __name__ == "__main__":
    main()
