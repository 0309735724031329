"""How far masks agree, on masks that a reader can count."""

import numpy as np
import pytest

from services.label_agreement import compare, measure_bias
from services.mask_counts import Triple, count, count_triple

UNKNOWN = 255


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def test_pixels_are_counted_by_reference_and_drawn_class() -> None:
    counts = count(mask([0, 0, 1], [1, 2, UNKNOWN]), mask([0, 1, 1], [UNKNOWN, 2, 0]), 3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]


def test_one_patch_has_no_interval() -> None:
    found = compare([count(mask([0, 0, 1, 1, 1]), mask([0, 1, 1, 1, UNKNOWN]), 3)])
    assert found is not None
    assert (found.patches, found.pixels) == (1, 4)
    assert found.agreement is not None
    assert (found.agreement.value, found.agreement.low) == (0.75, None)
    assert found.left_out is not None
    assert found.left_out.value == pytest.approx(1 / 5)
    assert [item and item.value for item in found.iou] == [pytest.approx(1 / 2), pytest.approx(2 / 3), None]
    assert compare([]) is None


def test_patches_are_the_units_of_the_interval() -> None:
    right, wrong = count(mask([1, 1]), mask([1, 1]), 2), count(mask([1, 1]), mask([0, 0]), 2)
    mixed, steady = compare([right, wrong] * 20), compare([right] * 40)
    assert mixed is not None and mixed.agreement is not None
    assert mixed.agreement.value == 0.5
    # Half the width for 40 draws of a coin: 1.96 * sqrt(0.25 / 40) = 0.155.
    assert mixed.agreement.low == pytest.approx(0.5 - 0.155, abs=0.03)
    assert mixed.agreement.high == pytest.approx(0.5 + 0.155, abs=0.03)
    assert steady is not None and steady.agreement is not None
    assert (steady.agreement.low, steady.agreement.high) == (1.0, 1.0)


def test_who_leaves_the_proposal_as_it_is_shows_a_pull_and_who_draws_what_is_there_does_not() -> None:
    there, proposal = mask([1, 1, 0, 0, UNKNOWN]), mask([1, 0, 0, 1, 1])
    accepted = measure_bias([count_triple(Triple(proposal, there, proposal), 2)] * 3)
    corrected = measure_bias([count_triple(Triple(there, there, proposal), 2)] * 3)
    assert accepted is not None and accepted.pull is not None and accepted.preannotated.agreement is not None
    assert accepted.preannotated.agreement.value == 1.0
    assert accepted.labels.pixels == 3 * 4  # of the last pixel one names no class
    assert (accepted.pull.value, accepted.pull.low, accepted.pull.high) == (0.5, 0.5, 0.5)
    assert [item and item.value for item in accepted.pull_iou] == [pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert corrected is not None and corrected.pull is not None
    assert corrected.pull.value == 0.0
    assert measure_bias([]) is None
