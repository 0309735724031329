"""Cells: the results of strategies on regions with seeds, each one JSON file, computed by some processes at once.

Strategies of one region and seed share the start (labels, weights), and differ afterwards. An interrupted run resumes:
what has a file is not computed again.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import torch
from threadpoolctl import threadpool_limits

from catalog.process_tree import end_with_parent
from experiments.learner import LoopConfig
from experiments.learning_loop import Loop
from experiments.region import Region

Key = tuple[str, str, int]
"""Region, strategy and seed of a cell."""

Cells = Mapping[Key, Sequence[Mapping[str, Any]]]
"""The rounds of each cell (`experiments.learning_loop.RoundResult` as JSON)."""

_GLANCE_S: Final = 1.0  # how often the number of finished cells is looked at


@dataclass(frozen=True)
class Unit:
    """What one process works on: strategies of a region and seed, one after another."""

    region: str
    seed: int
    strategies: tuple[str, ...]


def missing(done: Cells, regions: Sequence[str], seeds: int, names: Sequence[str], processes: int = 1) -> list[Unit]:
    """Return what is not done, all regions with the first seed before the second.

    Strategies of one region and seed are one unit, so that their start is computed once; if there are fewer such units
    than processes, each strategy is a unit, which computes the same start again.
    """
    units = []
    for seed in range(seeds):
        for region in regions:
            left = tuple(name for name in names if (region, name, seed) not in done)
            if left:
                units.append(Unit(region, seed, left))
    if len(units) >= processes:
        return units
    return [Unit(unit.region, unit.seed, (name,)) for unit in units for name in unit.strategies]


def run_unit(
    folder: Path, load: Callable[[str], Region], config: LoopConfig, unit: Unit, stop: Event | None = None
) -> None:
    """Run the strategies of a unit on one thread and store each cell; of a unit that is to stop, one at least."""
    torch.set_num_threads(1)
    with threadpool_limits(1):  # numpy's products of matrices
        loop = Loop(load(unit.region), unit.seed, config)
        for name in unit.strategies:
            rounds = [asdict(each) for each in loop.run(name)]
            about = {"region": unit.region, "strategy": name, "seed": unit.seed, "config": asdict(config)}
            keep(folder, {**about, "rounds": rounds})
            if stop is not None and stop.is_set():
                return


def run(
    units: Sequence[Unit],
    work: Callable[[Unit], None],
    processes: int,
    minutes: float | None = None,
    on_end: Callable[[Unit, int | None], None] | None = None,
    at_times: Callable[[], None] | None = None,
    stop: Event | None = None,
) -> list[Unit]:
    """Run each unit in a process of its own, some at once; return those whose process failed.

    What is not done in time is ended, and left for another run. No process outlives this one.

    Args:
        units: What to run, in this order.
        work: Runs a unit; picklable.
        processes: Most processes at once.
        minutes: When to stop; None: never.
        on_end: Takes a unit whose process ended, and its exit status; None as the status of one that ran out of time.
        at_times: Called about once a second.
        stop: Once it is set, no unit begins that has not begun, but for the first ones.
    """
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    waiting, failed = list(units), []
    running: dict[int, tuple[Unit, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                unit = waiting.pop(0)
                process = context.Process(target=_work, args=(work, unit), name=f"{unit.region} {unit.seed}")
                process.start()
                running[process.sentinel] = unit, process
            for sentinel in multiprocessing.connection.wait(list(running), _GLANCE_S):
                unit, process = running.pop(int(sentinel))  # type: ignore[arg-type]  # sentinels are numbers on POSIX
                process.join()
                failed += [unit] if process.exitcode else []
                if on_end is not None:
                    on_end(unit, process.exitcode)
            if at_times is not None:
                at_times()
            if stop is not None and stop.is_set():
                waiting.clear()
            if end is not None and time.monotonic() >= end:
                for unit in (*(unit for unit, _ in running.values()), *waiting):
                    if on_end is not None:
                        on_end(unit, None)
                return failed
    finally:
        for _, process in running.values():
            process.terminate()
    return failed


def _work(work: Callable[[Unit], None], unit: Unit) -> None:
    """Run a unit in the process made for it."""
    end_with_parent(signal.SIGKILL)
    work(unit)


def keep(folder: Path, cell: Mapping[str, Any]) -> None:
    """Store a cell; a reader finds all of it or nothing."""
    annotator = cell["config"]["annotator"]
    file = folder / f"{cell['region']}.{cell['strategy']}.{annotator}.{cell['seed']}.json"
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(cell, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(file)


def read(folder: Path, config: LoopConfig) -> dict[Key, list[dict[str, Any]]]:
    """Return the rounds of all stored cells of this configuration."""
    cells = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json")))
    return {
        (cell["region"], cell["strategy"], cell["seed"]): cell["rounds"]
        for cell in cells
        if cell["config"] == asdict(config)
    }
