"""What simulations and experiments may be asked for agrees with what the settings know."""

from typing import get_args

import pytest

from catalog.errors import InvalidInputError
from catalog.settings import Settings, Strategy
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


def test_options_that_contradict_each_other_are_refused(settings: Settings) -> None:
    check_options(SimulationOptions(rounds=3), settings)
    with pytest.raises(InvalidInputError, match="rounds: found 2; expected more than 2, the rounds that are drawn"):
        check_options(SimulationOptions(rounds=2), settings)
    with pytest.raises(InvalidInputError, match="found both scenes and an example"):
        check_options(ExperimentOptions(name="bands", scenes=["a"], example="everest"), settings)
