import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import trials as trials_module
from experiments.areas import StudyArea
from experiments.division import Division, divide
from experiments.explanation_trial import ExplanationTrial
from experiments.network_trial import NetworkTrial
from experiments.pixel_trials import NdsiTrial, PixelClassifierTrial
from experiments.study import Study
from experiments.study_data import StudyData
from experiments.trials import OnStep, Trial, TrialStore
from models.presets import PRESETS
from tests.experiments.study_areas import SMALL, RecordedProgress, data_of, half_ice, opened, paint


@dataclass
class Sum:
    """A trial that adds a number to a list as its computation, and can be interrupted."""

    number: int
    log: list[int] = field(default_factory=list)
    name: str = "sum"
    interrupted: bool = False

    def describe(self, data: StudyData) -> dict[str, Any]:
        return {"kind": "sum", "number": self.number}

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        if self.interrupted:
            raise KeyboardInterrupt
        self.log.append(self.number)
        on_step(1, 1)
        return {"pair": (self.number, 2 * self.number), "undefined": float("nan")}


@pytest.fixture
def store(trials: Path, study: Study) -> TrialStore:
    return TrialStore(trials, data_of(study))


def test_a_result_is_found_again_as_json_has_it(trials: Path, store: TrialStore, study: Study) -> None:
    assert store.find(Sum(3)) is None
    store.keep(Sum(3), {"pair": (3, 6)})
    again = TrialStore(trials, data_of(study))
    assert again.find(Sum(3)) == {"pair": [3, 6]}
    assert again.find(Sum(4)) is None


def test_the_description_is_beside_the_result(trials: Path, store: TrialStore) -> None:
    store.keep(Sum(3), {"pair": [3, 6]})
    (file,) = trials.iterdir()
    assert json.loads(file.read_text()) == {"description": {"kind": "sum", "number": 3}, "result": {"pair": [3, 6]}}


def test_a_draft_is_not_taken_for_a_result(trials: Path, store: TrialStore) -> None:
    store.keep(Sum(3), {"pair": [3, 6]})
    (file,) = trials.iterdir()
    file.rename(file.with_suffix(".4711.tmp"))  # what a process that was killed while it wrote would leave
    assert store.find(Sum(3)) is None


def test_results_of_another_format_are_not_found(store: TrialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.keep(Sum(3), {"pair": [3, 6]})
    monkeypatch.setattr(trials_module, "FORMAT", trials_module.FORMAT + 1)
    assert store.find(Sum(3)) is None


def test_an_interrupted_study_resumes(area: StudyArea, trials: Path) -> None:
    log: list[int] = []
    with opened([area], trials) as study, pytest.raises(KeyboardInterrupt):
        study.run([Sum(1, log), Sum(2, log), Sum(3, log, interrupted=True), Sum(4, log)])
    assert log == [1, 2]
    progress = RecordedProgress()
    with opened([area], trials, progress=progress) as again:
        results = again.run([Sum(number, log) for number in (1, 2, 3, 4)])
    assert log == [1, 2, 3, 4]
    assert [known for _, known in progress.ended] == [True, True, False, False]
    assert [result["pair"] for result in results] == [[1, 2], [2, 4], [3, 6], [4, 8]]  # lists, computed or known


def test_a_trial_that_is_asked_for_twice_is_computed_once(area: StudyArea, trials: Path) -> None:
    log: list[int] = []
    with opened([area], trials) as study:
        first, second = study.run([Sum(5, log, "one name"), Sum(5, log, "another name")])
    assert (log, first["pair"]) == ([5], second["pair"])


@pytest.fixture
def network(study: Study) -> NetworkTrial:
    return study.network("a name", 0)


def description(study: Study, trial: Trial) -> str:
    """A description as the store knows it."""
    return json.dumps(trial.describe(data_of(study)), sort_keys=True)


CHANGES: dict[str, Callable[[NetworkTrial, Division], NetworkTrial]] = {
    "seed": lambda trial, _: replace(trial, training=replace(trial.training, seed=1)),
    "steps": lambda trial, _: replace(trial, training=replace(trial.training, steps=4)),
    "loss": lambda trial, _: replace(trial, training=replace(trial.training, loss="dice")),
    "channels": lambda trial, _: replace(trial, channels=trial.channels[1:]),
    "network": lambda trial, _: replace(trial, unet=replace(trial.unet, width=8)),
    "head": lambda trial, _: replace(trial, head="binary"),
    "normalisation": lambda trial, _: replace(trial, input_normalization="patch"),
    "division": lambda trial, other: replace(trial, division=other),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_input_of_the_result_changes_the_trial(study: Study, network: NetworkTrial, change: str) -> None:
    other = Division(study.division.training[1:], study.division.validation, study.division.test)
    assert description(study, CHANGES[change](network, other)) != description(study, network)


def test_the_name_does_not_change_the_trial(study: Study, network: NetworkTrial) -> None:
    assert description(study, replace(network, name="another name")) == description(study, network)


def test_trials_of_different_kinds_are_different(study: Study, network: NetworkTrial) -> None:
    kinds = [
        network,
        ExplanationTrial(network),
        NdsiTrial("ndsi", study.division),
        *(PixelClassifierTrial("pixels", study.division, study.channels, name, 0) for name in ("random_forest", "mlp")),
        PixelClassifierTrial("pixels", study.division, study.channels, "mlp", 1),
    ]
    assert len({description(study, trial) for trial in kinds}) == len(kinds)


def test_experiments_share_the_default_network(study: Study) -> None:
    """All channels, in any order, the multiclass head and the loss of the architecture may be named or left out."""
    assert SMALL.architecture == "default"
    loss, left_out = PRESETS["default"].training.loss, study.network("left out", 0)
    named = study.network("named", 0, channels=study.channels[::-1], head="multiclass", loss=loss)
    assert description(study, named) == description(study, left_out)


def identity(area: StudyArea, folder: Path, seed: int = 0) -> dict[str, str]:
    with opened([area], folder) as study:
        return data_of(study).identity(divide([area], "random", 32, seed))


def test_the_identity_does_not_depend_on_the_paths_of_files(trials: Path, tmp_path: Path) -> None:
    areas = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        areas.append(paint(tmp_path / place, half_ice(160, 128)))
    here, there = (identity(area, trials) for area in areas)
    assert here == there
    assert here["device"] == "cpu"
    assert identity(areas[0], trials, seed=1) != here


@pytest.mark.parametrize("changed", ["truth", "pixels"])
def test_a_single_pixel_changes_the_identity(trials: Path, tmp_path: Path, changed: str) -> None:
    truth, bands = half_ice(160, 128), np.full((4, 160, 128), 50.0)
    before = identity(paint(tmp_path, truth, bands=bands), trials)
    if changed == "truth":
        truth[40, 40] = 1 - truth[40, 40] % 2
    else:
        bands[2, 40, 40] += 1
    assert identity(paint(tmp_path, truth, bands=bands), trials) != before
