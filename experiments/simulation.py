"""A simulation: what strategies would have given on a region, over several seeds, resumable cell by cell."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import torch

from catalog.errors import ConflictError
from experiments.cells import Key, Unit, missing, read, run, run_unit
from experiments.learner import Learner, LoopConfig
from experiments.learning_loop import EVERY_PATCH
from experiments.region import Region, open_region, save_region
from imagery.classes import UNKNOWN
from services import strategies

FORMAT: Final = 1
"""Raise it when a change of the code changes results, so that stored cells are not mixed with new ones."""

_TIMED_STEPS: Final = 5
_TIMED_PATCHES: Final = 16

Cells = dict[Key, list[dict[str, Any]]]


@dataclass(frozen=True)
class Simulation:
    """What is simulated.

    Attributes:
        region: The ground.
        strategies: Names of the strategies.
        seeds: Number of seeds: 0, 1, ...
        config: Size of the loop.
        folder: Folder of all simulations.
    """

    region: Region
    strategies: tuple[str, ...]
    seeds: int
    config: LoopConfig
    folder: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The strategies, and the run that learns every patch of the pool."""
        return (*self.strategies, EVERY_PATCH)

    def check(self) -> None:
        """Refuse a pool with too few patches; ConflictError."""
        patches, labels = len(self.region.masks("pool")), self.config.labels
        if patches <= labels:
            raise ConflictError(
                f"found {patches} patches of {self.region.patch_px} px in the pool of {self.region.name}; expected "
                f"more than {labels}, the labels of {self.config.rounds} rounds of {self.config.round_size}: ask for "
                "fewer or smaller rounds, or for smaller patches"
            )

    def cells(self) -> Cells:
        """Return the finished cells of the strategies and seeds."""
        if not self._cells.exists():
            return {}
        found = read(self._cells, self.config)
        return {key: rounds for key, rounds in found.items() if key[1] in self.names and key[2] < self.seeds}

    def missing(self, processes: int) -> list[Unit]:
        """Return what has to be computed."""
        return missing(self.cells(), [self.region.name], self.seeds, self.names, processes)

    def run(
        self,
        units: Sequence[Unit],
        processes: int,
        on_progress: Callable[[int], None],
        may_begin: Callable[[], bool] | None = None,
    ) -> list[Unit]:
        """Compute units in processes of one thread each; return those that failed.

        Args:
            units: What is missing.
            processes: Most processes at once.
            on_progress: Takes the number of finished cells, about once a second.
            may_begin: Asked as often: whether another cell may begin. Cells that have begun are finished, and of each
                process one at least, so that every call gets on.
        """
        self._cells.mkdir(parents=True, exist_ok=True)
        save_region(self.region, self._saved)
        stop = multiprocessing.get_context("spawn").Event()
        work = partial(run_unit, self._cells, partial(_load, self._saved), self.config, stop=stop)

        def look() -> None:
            on_progress(len(self.cells()))
            if may_begin is not None and not may_begin():
                stop.set()

        return run(units, work, processes, at_times=look, stop=stop)

    @cached_property
    def _saved(self) -> Path:
        return self.folder / f"region-{self.region.digest()[:16]}"

    @cached_property
    def _cells(self) -> Path:
        identity = json.dumps([FORMAT, self.region.digest(), asdict(self.config)])
        return self.folder / f"cells-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def estimate_seconds(simulation: Simulation, units: Sequence[Unit], processes: int) -> float:
    """Return how long units will take on free cores, from a few training steps and one scored batch on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scoring, training = _seconds_of_a_round(simulation)
    finally:
        torch.set_num_threads(threads)
    config, total = simulation.config, 0.0
    for unit in units:
        chosen = [name for name in unit.strategies if name != EVERY_PATCH]
        total += training * config.start_rounds if chosen else 0.0
        total += sum(config.chosen_rounds * (training + scoring * strategies.get(n).needs.scoring) for n in chosen)
        total += training * config.rounds * (EVERY_PATCH in unit.strategies)
    return total / min(processes, max(len(units), 1))


def _seconds_of_a_round(simulation: Simulation) -> tuple[float, float]:
    """Return the seconds of scoring the pool, and of training and judging a version."""
    learner = Learner(simulation.region, 0, simulation.config)
    masks = simulation.region.masks("pool").numpy()
    known = (masks != UNKNOWN).sum(axis=(1, 2))
    labels = {int(i): masks[i] for i in known.argsort()[::-1][: simulation.config.round_size]}
    segmenter = learner.fresh()
    learner.train(segmenter, labels, 1, 0)  # the first step also loads code
    step = _seconds(lambda: learner.train(segmenter, labels, _TIMED_STEPS, 0)) / _TIMED_STEPS
    judging = _seconds(lambda: learner.judge("test", segmenter))
    share = min(_TIMED_PATCHES, len(masks)) / len(masks)
    scoring = _seconds(lambda: learner.score(segmenter, 0, _TIMED_PATCHES)) / share
    return scoring, simulation.config.steps * step + 2 * judging


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _load(folder: Path, name: str) -> Region:
    """Return the saved region under the name that its cells have."""
    return replace(open_region(folder), name=name)
