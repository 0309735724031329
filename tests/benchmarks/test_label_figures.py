"""Differences at equal effort, and their intervals over places."""

import numpy as np
import pytest

from benchmarks.label_figures import effort_ratios, effort_to, holm, over_places, paired
from experiments.effort_curves import at_equal_effort, in_round


def rounds(*points: tuple[int, float]) -> list[dict[str, float]]:
    return [
        {"edited_pixels": pixels, "learner_mean_iou": iou, "labels": 6 * number}
        for number, (pixels, iou) in enumerate(points, start=1)
    ]


START = (100, 0.4)
STEEP = rounds(START, (200, 0.6), (300, 0.8))
FLAT = rounds(START, (150, 0.45), (200, 0.5))


def test_the_difference_at_equal_effort_ends_where_the_cheaper_run_ends() -> None:
    # Budgets 150 and 200: .5 and .6 against .45 and .5.
    assert at_equal_effort(STEEP, FLAT, 1) == pytest.approx((0.05 + 0.10) / 2)
    assert at_equal_effort(FLAT, STEEP, 1) == pytest.approx(-(0.05 + 0.10) / 2)


def test_a_run_without_effort_after_the_start_has_no_difference() -> None:
    assert at_equal_effort(STEEP, rounds(START, START), 1) is None


def test_at_equal_labels_rounds_are_compared_one_by_one() -> None:
    assert in_round(2)(STEEP, FLAT) == pytest.approx(0.3)
    assert in_round(3)(STEEP, FLAT) is None


def test_only_pairs_of_one_region_and_seed_are_compared() -> None:
    cells = {
        ("baltoro", "ours", 0): STEEP,
        ("baltoro", "random", 0): FLAT,
        ("baltoro", "ours", 1): STEEP,
        ("oetztal", "random", 1): FLAT,
        ("rare-ice", "ours", 0): STEEP,
        ("rare-ice", "random", 0): FLAT,
    }
    assert set(paired(cells, "ours", "random", in_round(2))) == {("baltoro", 0), ("rare-ice", 0)}
    assert set(paired(cells, "ours", "random", in_round(2), "semi-real")) == {("baltoro", 0)}


def test_regions_of_one_place_count_as_one() -> None:
    everest = {(f"everest-{side}", seed): 0.4 for side in ("west", "east", "north", "south") for seed in (0, 1)}
    found = over_places({**everest, ("baltoro", 0): 0.0})
    assert found is not None
    assert (found.places, found.pairs) == (2, 9)
    assert found.mean == pytest.approx(0.2)
    # Two places: both draws are the one, or the other, or one is each, and all values within a place agree.
    assert set(np.round(found.resampled, 9)) == {0.0, 0.2, 0.4}
    assert (found.low, found.high) == (0.0, pytest.approx(0.4))


def test_the_interval_covers_the_mean_of_many_places_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    names = ["hintereisferner", "oetztal", "baltoro", "exploradores", "rare-ice", "common-ice", "much-ice", "cloudy"]
    covered = 0
    for trial in range(40):
        of_place = generator.normal(0.03, 0.05, len(names))
        values = {
            (name, seed): centre + generator.normal(0, 0.03)
            for name, centre in zip(names, of_place, strict=True)
            for seed in range(3)
        }
        found = over_places(values, trial)
        assert found is not None
        covered += found.low <= 0.03 <= found.high
    assert covered >= 32  # of 38 expected; with 8 places percentile intervals are somewhat narrow


def test_p_values_count_resamples_below_the_bound() -> None:
    found = over_places({("baltoro", 0): 0.1, ("oetztal", 0): 0.1})
    assert found is not None
    assert found.p_above(0.0) == pytest.approx(1 / 10_001)
    assert found.p_above(0.2) == 1.0


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_hypotheses() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_an_effort_that_does_not_reach_the_target_bounds_the_ratio() -> None:
    # 90 % of the ceiling is .63: reached at 215 pixels of the steep run, and never by the flat one.
    ceiling = rounds((0, 0.7))
    cells = {("baltoro", "steep", 0): STEEP, ("baltoro", "flat", 0): FLAT, ("baltoro", "every", 0): ceiling}
    found = effort_ratios(cells, "steep", "flat", "every")
    assert (found.reached, found.reached_by_them, found.logs) == (1, 0, {})
    assert found.bounds == [pytest.approx(215 / 200)]  # the flat run would take more than its 200
    assert effort_ratios(cells, "flat", "steep", "every").bounds == [float("inf")]
    same = effort_ratios({**cells, ("baltoro", "flat", 0): STEEP}, "steep", "flat", "every")
    assert same.logs == {("baltoro", 0): 0.0}


def test_effort_to_a_target_is_interpolated() -> None:
    assert effort_to(STEEP, 0.7) == pytest.approx(250)
    assert effort_to(STEEP, 0.3) == 100
    assert effort_to(STEEP, 0.9) is None
