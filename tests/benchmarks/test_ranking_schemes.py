"""Each run here is made of scores that a reader can rank: patch 0 has the highest score, and so on down."""

import numpy as np
import pytest

from benchmarks.ranking_schemes import ENTRY, cascade, full, halves_agree, overlap, race, stop_when_steady, top
from benchmarks.ranking_scores import RANGES, Scores
from benchmarks.ranking_shown import ESTIMATES

PATCHES = 40
TRUTH = np.linspace(1.0, 0.0, PATCHES)


def run_with(noise: float, seed: int = 0) -> Scores:
    """Scores that a pass moves by so much at random, (len(RANGES), 40)."""
    passes = TRUTH + noise * np.random.default_rng(seed).normal(size=(40, PATCHES))
    return np.stack([passes[start:stop].mean(axis=0) for start, stop in RANGES]).astype(np.float32)


def test_without_noise_every_scheme_finds_the_top_tenth() -> None:
    run = run_with(0.0)
    for scheme in (full(20), cascade(5, 20, 0.3), race((10, 20, 40), 2.0), stop_when_steady((10, 20, 40), 0.9)):
        assert sorted(scheme(run).chosen) == [0, 1, 2, 3]


def test_a_full_scoring_costs_its_passes_and_one_entry() -> None:
    assert full(20)(run_with(0.0)).cost == 20 + ENTRY


def test_a_cascade_pays_the_later_passes_and_a_second_entry_for_its_share() -> None:
    # A quarter of 40 patches.
    assert cascade(4, 20, 0.25)(run_with(0.0)).cost == pytest.approx(4 + ENTRY + 0.25 * (16 + ENTRY))


def test_a_cascade_never_chooses_what_the_first_stage_left_out() -> None:
    run = run_with(0.0)
    run[RANGES.index((0, 20))] = TRUTH[::-1]
    # The first stage keeps patches 0 to 7; the last four of them lead by the reversed scores.
    assert sorted(cascade(5, 20, 0.2)(run).chosen) == [4, 5, 6, 7]


def test_a_race_without_noise_ends_after_the_first_stage() -> None:
    assert race((10, 20, 40), 2.0)(run_with(0.0)).cost == 10 + ENTRY


def test_a_race_goes_on_with_the_contested_patches_only() -> None:
    outcome = race((10, 20, 40), 2.0)(run_with(0.05))
    assert 10 + ENTRY < outcome.cost < 20 + ENTRY
    assert len(outcome.chosen) == 4


def test_a_wide_bound_settles_nothing_and_so_chooses_as_all_passes_do() -> None:
    run = run_with(1.0)
    assert set(race((10, 40), 1e6)(run).chosen) == set(full(40)(run).chosen)
    assert race((10, 40), 1e6)(run).cost == pytest.approx(40 + 2 * ENTRY)


def test_steady_halves_stop_the_passes_and_unsteady_ones_do_not() -> None:
    assert stop_when_steady((10, 20, 40), 1.0)(run_with(0.0)).cost == 10 + ENTRY
    assert stop_when_steady((10, 20, 40), 1.0)(run_with(100.0)).cost == 40 + ENTRY


def test_overlap_and_top() -> None:
    assert top(np.array([0.1, 0.3, 0.2]), 2).tolist() == [1, 2]
    assert overlap(np.array([1, 2]), np.array([2, 0])) == 0.5


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_ranking_without_noise_is_shown_as_certain(name: str) -> None:
    assert ESTIMATES[name](run_with(0.0), 20) == 1.0


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_ranking_of_noise_is_shown_as_worth_little(name: str) -> None:
    shown = np.mean([ESTIMATES[name](run_with(1000.0, seed), 20) for seed in range(10)])
    assert shown < 0.5


def test_the_halves_are_those_of_the_passes_asked_for() -> None:
    run = run_with(0.0)
    run[RANGES.index((10, 20))] = TRUTH[::-1]
    assert halves_agree(run, 10) == 1.0
    assert halves_agree(run, 20) == 0.0
