"""A study: its areas, the options that all trials share, and the computation of trials."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.areas import StudyArea
from experiments.division import Division, divide, with_both_classes
from experiments.estimates import Counts, counts_of
from experiments.network_trial import NetworkTrial
from experiments.patches import PatchReader
from experiments.pixel_trials import PixelClassifierTrial
from experiments.study_data import StudyData
from experiments.trials import Trial, TrialStore
from imagery.channels import recorded
from imagery.classes import GLACIER_SCHEME
from models.boundary_loss import BoundaryClasses
from models.heads import Head
from models.losses import LossName
from models.presets import PRESETS, Architecture
from services.experiment_options import SplitKind

DIVISION_SEED: Final = 0
"""The same windows for all seeds of the networks, so that only the training varies."""


@dataclass(frozen=True)
class Choices:
    """The options that all networks of a study share.

    Attributes:
        architecture: Network and training, a key of `models.presets.PRESETS`.
        depth: Number of down-samplings; None for that of the architecture.
        width: Feature maps of the first level; None for that of the architecture.
        steps: Optimiser steps.
        seeds: Number of networks of each kind, with the seeds 0, 1, ...
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
    """Receives the progress of a study, to show it to people."""

    def begin(self, trials: int) -> None:
        """Take how many further trials follow; called once or several times."""

    def start(self, name: str) -> None:
        """Take the name of the trial that starts."""

    def step(self, done: int, steps: int) -> None:
        """Take the finished steps of the trial, and all of its steps."""

    def end(self, name: str, known: bool) -> None:
        """Take the name of the trial that ended, and whether its result was stored before."""


class Study:
    """Computes trials, or reads their stored results."""

    def __init__(
        self,
        data: StudyData,
        areas: Sequence[StudyArea],
        choices: Choices,
        store: TrialStore,
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        self.areas = areas
        self.choices = choices
        self.channels = data.patches.channels
        """All channels that every area has."""
        self.bands = recorded(self.channels)
        """The channels that a sensor recorded."""
        self._data = data
        self._store = store
        self._progress = progress
        self._check = check
        self._announced = 0

    @property
    def seeds(self) -> range:
        """The seeds of the networks of each kind."""
        return range(self.choices.seeds)

    @cached_property
    def division(self) -> Division:
        """The windows of all experiments except the geographic one."""
        return divide(self.areas, self.choices.split, self.choices.patch_size_px, DIVISION_SEED)

    @cached_property
    def both_classes(self) -> Division:
        """Those of the windows that hold both clean and debris-covered ice; SceneError if there are none."""
        return with_both_classes(self.division, lambda place: self._data.patches.patch(place)[1])

    @property
    def test_blocks(self) -> int:
        """Number of blocks of test windows, which the bootstrap draws."""
        return len(np.unique(self.division.blocks("test")))

    def masks(self, part: str, division: Division | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield the true classes (h, w) of each window of a part, in order; by default of :attr:`division`."""
        return (mask for _, mask in self._data.patch_set(division or self.division, part, self.channels).arrays())

    def counts(self, results: Sequence[dict[str, Any]]) -> Counts:
        """Return the counts of the test windows of :attr:`division`; see `experiments.estimates.counts_of`."""
        return counts_of(results, self.division.blocks("test"))

    def network(
        self,
        name: str,
        seed: int,
        *,
        channels: Sequence[str] | None = None,
        head: Head | None = None,
        loss: LossName | None = None,
        alpha: float = 0.5,
        boundary_classes: BoundaryClasses | None = None,
        division: Division | None = None,
    ) -> NetworkTrial:
        """Return the trial of a network with the options of the study, except for those given.

        Rare classes are favoured neither in the sampling nor in the loss, as in the papers: it would help a network
        with a debris class more than a binary one, and pixel classifiers not at all.

        Args:
            name: The name that is shown to people.
            seed: Seed of the initial weights and of the training.
            channels: Channels of its input, in any order; all channels by default.
            head: The task head; multiclass by default.
            loss: The loss; the architecture's by default.
            alpha: The alpha of the loss "combined".
            boundary_classes: Whose boundaries count in the loss; the architecture's by default.
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
            boundary_classes=boundary_classes or preset.training.boundary_classes,
            balance=False,
            precision="float32",  # the same on every machine, with any number of threads
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
        """Return the trial of a pixel classifier that is fed all channels."""
        return PixelClassifierTrial(f"{baseline}, seed {seed}", self.division, self.channels, baseline, seed)

    def run(self, trials: Sequence[Trial], followed_by: int = 0) -> list[dict[str, Any]]:
        """Return the result of each trial; those that are not stored yet are computed.

        Args:
            trials: The trials.
            followed_by: How many trials the next calls will ask for, so that the progress is of all of them.

        Raises:
            ConflictError: An area is not what it was any more (`open_study`); nothing is stored of the trial then.
        """
        self._progress.begin(len(trials) + followed_by - self._announced)
        self._announced = followed_by
        results = [self._result(trial) for trial in trials]
        self._check()
        return results

    def _result(self, trial: Trial) -> dict[str, Any]:
        self._progress.start(trial.name)
        known = self._store.find(trial)
        if known is None:
            found = trial.run(self._data, self._progress.step)
            self._check()
            self._store.keep(trial, found)
        self._progress.end(trial.name, known is not None)
        return known or self._store.read(trial)  # read back: a resumed experiment gets the same JSON values


@contextmanager
def open_study(
    areas: Sequence[StudyArea],
    choices: Choices,
    folder: Path,
    device: torch.device,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Study]:
    """Yield a study of some areas; their files are closed at the end.

    Args:
        areas: The study areas.
        choices: The options that all networks share.
        folder: Folder of the stored results.
        device: Device of the networks.
        progress: Receives the progress.
        check: Raises ConflictError once an area is not what it was when the study began.
    """
    with PatchReader(areas) as patches:
        data = StudyData(patches, device)
        yield Study(data, areas, choices, TrialStore(folder, data), progress, check)
