"""Which part of a patch is asked for."""

import numpy as np
import pytest

from models.measures import MEASURES
from services.asked_parts import most_uncertain_quarter, uncertain_areas, uncertainty_left

SIDE = 64
OPEN = np.ones((SIDE, SIDE), np.bool_)


def spots(*places: tuple[int, int, int, float]) -> np.ndarray:
    """Uncertainty of squares: row, column, side, value; 0 elsewhere."""
    found = np.zeros((SIDE, SIDE), np.float32)
    for row, column, side, value in places:
        found[row : row + side, column : column + side] = value
    return found


def test_an_uncertain_area_is_asked_for_with_a_rim():
    asked = uncertain_areas(spots((20, 30, 10, 0.5)), OPEN, 0.25)
    assert asked[20:30, 30:40].all()
    assert asked.sum() == 14 * 14  # averaged over 5 x 5 pixels, the square reaches two pixels further


def test_the_most_uncertain_pixels_come_first_if_the_share_is_small():
    asked = uncertain_areas(spots((4, 4, 16, 0.2), (40, 40, 16, 0.9)), OPEN, 256 / SIDE**2)
    assert asked.sum() <= 256
    assert asked[42:54, 42:54].all()
    assert not asked[:32].any()


def test_small_areas_are_dropped_beside_a_large_one():
    alone = spots((4, 4, 1, 0.9))
    share = 9 / SIDE**2
    assert uncertain_areas(alone, OPEN, share).sum() == 9  # the only one, though smaller than 4 x 4 pixels
    with_large = spots((4, 4, 1, 0.9), (30, 30, 12, 0.9))
    assert not uncertain_areas(with_large, OPEN, 150 / SIDE**2)[:20].any()


@pytest.mark.parametrize("part", [uncertain_areas, most_uncertain_quarter])
@pytest.mark.parametrize("seed", range(5))
def test_only_open_pixels_with_data_are_asked_for_and_at_most_the_share(part, seed):
    generator = np.random.default_rng(seed)
    uncertainty = generator.random((SIDE, SIDE)).astype(np.float32)
    uncertainty[:, :10] = np.nan
    is_open = generator.random((SIDE, SIDE)) < 0.7
    asked = part(uncertainty, is_open, 0.25)
    assert 0 < asked.sum() <= SIDE**2 / 4
    assert not (asked & ~is_open).any()
    assert not asked[:, :10].any()


def test_a_quarter_is_the_most_uncertain_of_four():
    asked = most_uncertain_quarter(spots((5, 5, 6, 0.3), (40, 10, 6, 0.4)), OPEN, 0.25)
    expected = np.zeros((SIDE, SIDE), np.bool_)
    expected[32:, :32] = True
    np.testing.assert_array_equal(asked, expected)


@pytest.mark.parametrize("part", [uncertain_areas, most_uncertain_quarter])
def test_four_rounds_of_certain_ground_cover_a_patch(part):
    is_open = OPEN.copy()
    for _ in range(4):
        is_open &= ~part(np.zeros((SIDE, SIDE), np.float32), is_open, 0.25)
    assert not is_open.any()


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_what_is_left_is_scored_as_the_workers_that_score_do(measure):
    generator = np.random.default_rng(0)
    entropy = generator.random((SIDE, SIDE)).astype(np.float32)
    entropy[:5] = np.nan
    is_open = generator.random((SIDE, SIDE)) < 0.5
    found = uncertainty_left(measure, entropy, is_open)
    if MEASURES[measure].map_name == "predictive_entropy":
        assert found == pytest.approx(MEASURES[measure].reduce(entropy, is_open), rel=1e-6)
    else:
        assert found is None
