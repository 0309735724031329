"""Intervals of areas, by numbers that can be checked by hand (3, 4, 5 and squares)."""

import numpy as np
import pytest
import shapely

from imagery.area_interval import NOTHING, AreaInterval, add_alike, add_independent, difference, of_standard_error
from imagery.grid import Grid
from imagery.outline_intervals import OutlineIntervals, OutlineParts
from tests.imagery.forge import NORTH_UP, UTM_45N


def test_errors_of_independent_areas_add_up_as_squares_and_those_that_go_together_as_they_are() -> None:
    first, second = AreaInterval(10, 7, 16), AreaInterval(20, 16, 28)
    assert add_independent([first, second]) == AreaInterval(30, 25, 40)
    assert add_alike([first, second]) == AreaInterval(30, 23, 44)
    assert add_alike([]) == add_independent([]) == NOTHING


def test_the_low_end_of_a_difference_comes_from_the_low_end_of_one_and_the_high_end_of_the_other() -> None:
    assert difference(AreaInterval(20, 16, 28), AreaInterval(10, 4, 13)) == AreaInterval(10, 5, 20)


def test_a_part_is_known_less_well_than_the_whole() -> None:
    assert AreaInterval(100, 80, 140).part(0.25) == AreaInterval(25, 15, 45)  # half the distances for a quarter
    assert AreaInterval(100, 10, 140).part(0.01) == AreaInterval(1, 0, 5)
    assert AreaInterval(100, 80, 140).part(0) == NOTHING
    assert AreaInterval(100, 80, 140).relative_error == 0.3
    assert NOTHING.relative_error is None


def test_a_standard_error_gives_an_interval_that_never_falls_below_nothing() -> None:
    assert of_standard_error(10, 1) == AreaInterval(10, 8.04, 11.96)
    assert of_standard_error(1, 1) == AreaInterval(1, 0, 2.96)


def outlines(high: tuple[float, ...]) -> OutlineIntervals:
    """Of ice 40 x 10 px and 10 x 10 px, and of debris 20 x 10 px, from the left to the right."""
    a, _, c, _, e, f = NORTH_UP
    boxes = [shapely.box(c + a * left, f + e * 20, c + a * right, f + e * 10) for left, right in SPANS]
    names = np.array(["ice", "ice", "debris"], dtype=object)
    best, low = np.array([4.0, 1.0, 2.0]), np.array([2.0, 0.5, 1.5])
    return OutlineIntervals(np.array(boxes, dtype=object), names, best, low, np.array(high))


SPANS = ((0, 40), (50, 60), (60, 80))
GRID = Grid(UTM_45N, NORTH_UP, 100, 600)  # several strips


def test_a_region_has_the_outlines_in_it_and_of_one_at_its_border_a_part() -> None:
    numbers = np.zeros((600, 100), np.int32)
    numbers[:, 30:] = 1  # a quarter of the large outline of ice, and all of the others
    numbers[:, 90:] = 2
    parts = OutlineParts(outlines((8.0, 2.0, 3.0)), GRID, lambda window: numbers[window.slices])
    ice = parts.area(1, ["ice"])
    assert ice.mapped_km2 == pytest.approx(200 * 0.0009, rel=2e-3)
    assert ends(ice.interval) == pytest.approx((1 + 1, 0 + 0.5, 3 + 2))
    both = parts.area(1, ["ice", "debris"])
    assert ends(both.interval) == pytest.approx((2 + 2, 0.5 + 1.5, 5 + 3))
    assert ends(both.of(2 * both.mapped_km2)) == pytest.approx((8, 4, 16))
    assert parts.area(None, ["ice", "debris"]) == both, "outside all regions nothing counts"
    empty = parts.area(2, ["ice"])
    assert (empty.mapped_km2, empty.interval, empty.of(0.0), empty.of(1.0)) == (0.0, NOTHING, NOTHING, None)


def ends(interval: AreaInterval | None) -> tuple[float, float, float]:
    assert interval is not None
    return interval.best, interval.low, interval.high


def test_a_region_with_an_outline_of_unknown_error_has_no_interval() -> None:
    numbers = np.ones((600, 100), np.int32)
    parts = OutlineParts(outlines((8.0, np.nan, 3.0)), GRID, lambda window: numbers[window.slices])
    assert parts.area(1, ["ice"]).interval is None
    assert ends(parts.area(1, ["debris"]).interval) == pytest.approx((2, 1.5, 3))
