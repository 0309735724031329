"""A study: the ground, the choices that all trials share, and the running of trials."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.areas import StudyArea
from experiments.division import Division, SplitKind, divide
from experiments.estimates import Counts, counts_of
from experiments.ground import Ground
from experiments.networks import NetworkTrial
from experiments.patches import PatchReader
from experiments.pixels import PixelClassifierTrial
from experiments.trials import Trial, TrialStore
from imagery.channels import ELEVATION, INDICES, SLOPE
from imagery.classes import GLACIER_SCHEME
from models.heads import Head
from models.losses import LossName
from models.presets import PRESETS, Architecture

DIVISION_SEED: Final = 0
"""The windows stay the same over all seeds of the networks: what varies is the training alone."""


@dataclass(frozen=True)
class Choices:
    """What all networks of a study have in common.

    Attributes:
        architecture: Network and training, as `models.presets.PRESETS` has them.
        depth: Number of down-samplings; None as the architecture has it.
        width: Feature maps of the first level; None as the architecture has it.
        steps: Optimiser steps.
        seeds: So many networks of each kind are trained, with the seeds 0, 1, ...
        patch_size_px: Side of the windows.
        split: How the windows are divided.
    """

    architecture: Architecture
    depth: int | None
    width: int | None
    steps: int
    seeds: int
    patch_size_px: int
    split: SplitKind


class Progress(Protocol):
    """Told of what goes on, for people to see."""

    def begin(self, trials: int) -> None:
        """So many trials are to be computed."""

    def start(self, name: str) -> None:
        """A trial is begun."""

    def step(self, done: int, steps: int) -> None:
        """The trial has come so far."""

    def end(self, name: str, known: bool) -> None:
        """The trial is done, or was known already."""


class Study:
    """Computes trials, or finds what is known of them."""

    def __init__(
        self, ground: Ground, areas: Sequence[StudyArea], choices: Choices, store: TrialStore, progress: Progress
    ) -> None:
        self.areas = areas
        self.choices = choices
        self.channels = ground.patches.channels
        """All channels that every area has."""
        derived = {ELEVATION, SLOPE, *INDICES}
        self.bands = tuple(name for name in self.channels if name not in derived)
        """The channels that a sensor recorded."""
        self._ground = ground
        self._store = store
        self._progress = progress

    @property
    def seeds(self) -> range:
        """The seeds of the networks of each kind."""
        return range(self.choices.seeds)

    @cached_property
    def division(self) -> Division:
        """The windows of all experiments but the geographic one."""
        return divide(self.areas, self.choices.split, self.choices.patch_size_px, DIVISION_SEED)

    def masks(self, part: str) -> Iterator[NDArray[np.uint8]]:
        """Yield the truth (h, w) of each window of a part, in order."""
        return (mask for _, mask in self._ground.patch_set(self.division, part, self.channels).arrays())

    def counts(self, results: Sequence[dict[str, Any]], kept: NDArray[np.bool_] | None = None) -> Counts:
        """Gather the counts of the test windows; see `experiments.estimates.counts_of`."""
        return counts_of(results, self.division.blocks("test"), kept=kept)

    def network(
        self,
        name: str,
        seed: int,
        *,
        channels: Sequence[str] | None = None,
        head: Head | None = None,
        loss: LossName | None = None,
        alpha: float = 0.5,
        division: Division | None = None,
    ) -> NetworkTrial:
        """Describe a network: as the choices have it, but for what is given.

        Rare classes are favoured neither in the sampling nor in the loss, as in the papers: it would be another help
        for a network that tells debris than for one that does not, and none for a classifier of pixels.

        Args:
            name: What it is, for people.
            seed: Of the initial weights and of the training.
            channels: What it is fed, in any order; all channels by default.
            head: The task head; multiclass by default.
            loss: The loss; the architecture's by default.
            alpha: Of the loss "combined".
            division: The windows; those of :attr:`division` by default.
        """
        preset = PRESETS[self.choices.architecture]
        fed = tuple(name for name in self.channels if channels is None or name in channels)
        head = head or "multiclass"
        shape = preset.network(len(fed), len(GLACIER_SCHEME.classes), head)
        training = replace(
            preset.training,
            steps=self.choices.steps,
            seed=seed,
            loss=loss or preset.training.loss,
            alpha=alpha,
            balance=False,
            precision="float32",  # on every machine, with any number of threads
        )
        return NetworkTrial(
            name=f"{name}, seed {seed}",
            division=division or self.division,
            channels=fed,
            unet=replace(shape, depth=self.choices.depth or shape.depth, width=self.choices.width or shape.width),
            head=head,
            input_normalization=preset.input_normalization,
            training=training,
        )

    def pixel_classifier(self, baseline: str, seed: int) -> PixelClassifierTrial:
        """Describe a classifier of single pixels, fed all channels."""
        return PixelClassifierTrial(f"{baseline}, seed {seed}", self.division, self.channels, baseline, seed)

    def run(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """Return the result of each trial, computing those that are not known yet."""
        self._progress.begin(len(trials))
        return [self._result(trial) for trial in trials]

    def _result(self, trial: Trial) -> dict[str, Any]:
        self._progress.start(trial.name)
        known = self._store.find(trial)
        if known is None:
            self._store.keep(trial, trial.run(self._ground, self._progress.step))
        self._progress.end(trial.name, known is not None)
        return known or self._store.read(trial)  # read back, so that a resumed experiment sees the very same


@contextmanager
def open_study(
    areas: Sequence[StudyArea], choices: Choices, folder: Path, device: torch.device, progress: Progress
) -> Iterator[Study]:
    """Open the files of the areas for a study; close them at the end.

    Args:
        areas: The ground.
        choices: What all networks have in common.
        folder: Where results are kept.
        device: Where networks run.
        progress: Told of what goes on.
    """
    with PatchReader(areas) as patches:
        ground = Ground(patches, device)
        yield Study(ground, areas, choices, TrialStore(folder, ground), progress)
