import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.estimates import (
    ACCURACY,
    BINARY_SCORES,
    CLEAN_IOU,
    DEBRIS_IOU,
    FALSE_ALARM,
    GLACIER_IOU,
    KAPPA,
    MEASURES,
    MISSED_ALARM,
    counts_of,
    difference,
    estimate,
)


def of_seeds(*seeds: list[list[list[int]]]) -> NDArray[np.int64]:
    """(B, S, K, K) of the windows of each seed, each window a block by itself."""
    return counts_of(trials(*seeds), np.arange(len(seeds[0])))


def trials(*seeds: list[list[list[int]]]) -> list[dict[str, Any]]:
    return [{"confusions": {"test": windows, "training": windows[::-1]}} for windows in seeds]


# Rows are the truth, columns the prediction: background, clean ice, debris-covered ice.
SURE = [[10, 0, 0], [0, 6, 0], [0, 0, 4]]
CONFUSED = [[10, 0, 0], [0, 3, 3], [0, 4, 0]]  # all glacier is glacier, of the wrong kind
BLIND = [[10, 0, 0], [6, 0, 0], [4, 0, 0]]
NO_DEBRIS = [[10, 0, 0], [0, 6, 0], [0, 0, 0]]
# Of glacier: 6 hit, 2 falsely claimed, 4 missed.
BINARY = [[8, 2], [4, 6]]


def test_blocks_come_first_then_seeds() -> None:
    counts = of_seeds([SURE, CONFUSED, BLIND], [BLIND, BLIND, SURE])
    assert counts.shape == (3, 2, 3, 3)
    np.testing.assert_array_equal(counts[1, 0], CONFUSED)
    np.testing.assert_array_equal(counts[2, 1], SURE)


def test_windows_of_a_block_are_added_up() -> None:
    counts = counts_of(trials([SURE, CONFUSED, BLIND]), np.array([0, 1, 0]))
    np.testing.assert_array_equal(counts[:, 0], [np.add(SURE, BLIND), CONFUSED])


def test_blocks_without_a_counted_window_are_left_out() -> None:
    kept = np.array([False, True, True])
    counts = counts_of(trials([SURE, CONFUSED, BLIND]), np.array([0, 1, 1]), kept=kept)
    np.testing.assert_array_equal(counts[:, 0], [np.add(CONFUSED, BLIND)])


def test_counts_are_of_the_requested_part() -> None:
    counts = counts_of(trials([SURE, BLIND]), np.array([0, 1]), "training")
    np.testing.assert_array_equal(counts[:, 0], [BLIND, SURE])


def test_the_value_is_the_mean_over_seeds_of_pooled_scores() -> None:
    # Clean ice: seed 0 hits 12 of 12; seed 1 hits 6 and misses 6.
    found = estimate(of_seeds([SURE, SURE], [SURE, BLIND]), CLEAN_IOU)
    assert found is not None
    assert found.value == pytest.approx((1 + 0.5) / 2)
    assert found.spread == pytest.approx(math.sqrt(0.25**2 + 0.25**2))  # divisor S - 1


def test_trap_counts_are_pooled_over_windows_before_the_ratio() -> None:
    small = [[0, 0], [1, 0]]  # a window with a single pixel of glacier, missed: IoU 0
    large = [[0, 0], [0, 99]]  # IoU 1
    found = estimate(of_seeds([small, large]), GLACIER_IOU)
    assert found is not None
    assert found.value == pytest.approx(0.99)  # not 0.5, the mean of both


def test_the_interval_is_over_blocks() -> None:
    # Drawn with replacement, two blocks are both the first in a quarter of the cases, and both the second in another.
    found = estimate(of_seeds([SURE, BLIND]), CLEAN_IOU)
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)
    alike = estimate(of_seeds([BINARY, BINARY]), GLACIER_IOU)
    assert alike is not None
    assert (alike.low, alike.value, alike.high) == (0.5, 0.5, 0.5)


def test_the_interval_is_over_seeds_too() -> None:
    # The windows are alike, so that they add no doubt; of two seeds, both are the first in a quarter of the cases.
    found = estimate(of_seeds([SURE, SURE], [BLIND, BLIND]), GLACIER_IOU)
    assert found is not None
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)


def test_glacier_of_the_wrong_kind_is_glacier() -> None:
    counts = of_seeds([CONFUSED])
    values = {measure: estimate(counts, measure) for measure in (GLACIER_IOU, CLEAN_IOU, DEBRIS_IOU, ACCURACY, KAPPA)}
    assert {measure: found.value for measure, found in values.items() if found} == {
        GLACIER_IOU: 1.0,
        CLEAN_IOU: 0.3,  # 3 hit, 4 claimed, 3 missed
        DEBRIS_IOU: 0.0,
        ACCURACY: 1.0,
        KAPPA: 1.0,
    }


def test_the_scores_of_he_by_hand() -> None:
    values = {measure: MEASURES[measure](np.array(BINARY)) for measure in (GLACIER_IOU, *BINARY_SCORES)}
    expected = {
        GLACIER_IOU: 6 / 12,
        MISSED_ALARM: 4 / 10,
        FALSE_ALARM: 2 / 8,
        ACCURACY: 14 / 20,
        KAPPA: (14 / 20 - 0.5) / (1 - 0.5),  # chance: (12 * 10 + 8 * 10) / 400
    }
    assert values == pytest.approx(expected)


@pytest.mark.parametrize("measure", [CLEAN_IOU, DEBRIS_IOU])
def test_clean_and_debris_iou_are_undefined_for_a_binary_network(measure: str) -> None:
    binary, multiclass = of_seeds([BINARY]), of_seeds([SURE])
    assert estimate(binary, measure) is None
    assert difference(binary, multiclass, measure) is None
    assert difference(multiclass, binary, measure) is None


@pytest.mark.parametrize("measure", [GLACIER_IOU, MISSED_ALARM, FALSE_ALARM, ACCURACY, KAPPA])
def test_binary_and_multiclass_are_compared_by_glacier(measure: str) -> None:
    binary, multiclass = of_seeds([BINARY, BINARY]), of_seeds([CONFUSED, CONFUSED])
    one, other = estimate(binary, measure), estimate(multiclass, measure)
    found = difference(binary, multiclass, measure)
    assert one is not None
    assert other is not None
    assert found is not None
    assert found.value == pytest.approx(one.value - other.value)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_difference_to_itself_is_nothing(measure: str) -> None:
    counts = of_seeds([SURE, CONFUSED, BLIND], [BLIND, SURE, CONFUSED])
    found = difference(counts, counts, measure)
    assert found is not None
    assert (found.value, found.spread, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)


def test_a_difference_compares_equal_seeds() -> None:
    # Clean IoU: seed 0 gains 1 - 0.5, seed 1 gains 0.5 - 0: the seeds differ more than the gain does.
    counts, reference = of_seeds([SURE, SURE], [SURE, BLIND]), of_seeds([SURE, BLIND], [BLIND, BLIND])
    found = difference(counts, reference, CLEAN_IOU)
    assert found is not None
    assert (found.value, found.spread) == (0.5, 0.0)


def test_windows_of_a_difference_are_drawn_together() -> None:
    # Both find the first window hard; the one is better by the same on each, so that no draw changes the gain.
    good, poor = of_seeds([[[0, 0], [5, 15]], [[0, 0], [0, 20]]]), of_seeds([[[0, 0], [10, 10]], [[0, 0], [5, 15]]])
    found = difference(good, poor, GLACIER_IOU)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_single_seed_is_compared_with_each_seed() -> None:
    threshold = of_seeds([BINARY])
    networks = of_seeds([SURE], [BLIND], [SURE])
    found = difference(threshold, networks, GLACIER_IOU)
    assert found is not None
    assert found.value == pytest.approx(0.5 - (1 + 0 + 1) / 3)
    assert found.spread == pytest.approx(math.sqrt(1 / 3))


def test_a_single_seed_has_no_spread() -> None:
    found = estimate(of_seeds([SURE]), GLACIER_IOU)
    assert found is not None
    assert math.isnan(found.spread)


def test_trap_a_class_that_does_not_occur_is_undefined() -> None:
    found = estimate(of_seeds([NO_DEBRIS, NO_DEBRIS], [NO_DEBRIS, NO_DEBRIS]), DEBRIS_IOU)
    assert found is not None
    assert all(math.isnan(number) for number in (found.value, found.spread, found.low, found.high))
