"""What simulations and experiments may be asked for agrees with what the settings know."""

from typing import get_args

import pytest

from catalog.errors import InvalidInputError
from catalog.settings import Settings, Strategy
from imagery import everest_files
from services.experiment_options import (
    EXAMPLES,
    QUESTIONS,
    STRATEGIES,
    Architecture,
    Example,
    ExperimentName,
    ExperimentOptions,
    SimulationOptions,
    bounds,
    check_options,
    examples,
    strategies_of,
)


def test_all_strategies_are_simulated_but_the_one_that_needs_prior_outlines() -> None:
    assert {*STRATEGIES, "prior_disagreement"} == {strategy.value for strategy in Strategy}


def test_the_architectures_are_those_of_the_settings() -> None:
    assert get_args(Architecture) == get_args(Settings.model_fields["architecture"].annotation)


def test_every_example_and_experiment_is_explained() -> None:
    assert tuple(EXAMPLES) == get_args(Example)
    assert tuple(QUESTIONS) == get_args(ExperimentName)


def test_bounds_are_those_of_the_model() -> None:
    assert bounds(SimulationOptions, "rounds") == (2, 1000)
    assert bounds(ExperimentOptions, "depth") == (1, 7)
    assert bounds(ExperimentOptions, "name") == (None, None)


def test_settings_that_leave_nothing_to_simulate_are_told(settings: Settings) -> None:
    none_at_random = settings.model_copy(update={"random_start_rounds": 0})
    with pytest.raises(InvalidInputError, match="found 0 as the setting random_start_rounds; expected 1 at least"):
        check_options(SimulationOptions(), none_at_random)
    check_options(ExperimentOptions(name="heads"), none_at_random)
    of_priors = settings.model_copy(update={"round_strategy": Strategy.PRIOR_DISAGREEMENT})
    with pytest.raises(InvalidInputError, match="the configured one, prior_disagreement, needs prior outlines"):
        check_options(SimulationOptions(), of_priors)
    named = SimulationOptions(strategies=["random"])
    check_options(named, of_priors)
    assert strategies_of(named, of_priors) == ["random"]
    assert strategies_of(SimulationOptions(), settings) == ("recipe", "foreground_random", "random")


def test_an_example_is_offered_where_its_data_are_installed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(examples()) == ["everest", "synthetic"]
    monkeypatch.setattr(everest_files, "find_spec", lambda _: None)
    assert list(examples()) == ["synthetic"]
    with pytest.raises(
        InvalidInputError, match="found 'everest'; expected one whose data are installed here: synthetic"
    ):
        check_options(ExperimentOptions(name="heads", example="everest"), settings)


def test_options_that_contradict_each_other_are_refused(settings: Settings) -> None:
    check_options(SimulationOptions(rounds=3), settings)
    with pytest.raises(InvalidInputError, match="rounds: found 2; expected more than 2, the rounds that are drawn"):
        check_options(SimulationOptions(rounds=2), settings)
    with pytest.raises(InvalidInputError, match="found both scenes and an example"):
        check_options(ExperimentOptions(name="bands", scenes=["a"], example="everest"), settings)
