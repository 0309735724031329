import math

import numpy as np
import pytest

from imagery.classes import UNKNOWN
from models.label_doubt import STANDS_OUT, doubt


def surely(value: int) -> np.ndarray:
    """Four pixels of which a network is sure by 9 to 1, with two classes."""
    found = np.full((2, 1, 4), 0.1)
    found[value] = 0.9
    return found


def test_a_label_is_doubted_by_its_loss_beyond_what_the_network_expects() -> None:
    drawn = np.array([[0, 0, 1, UNKNOWN]], dtype=np.uint8)
    expected = (2 * -math.log(0.9) + -math.log(0.1)) / 3 - (-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert doubt(surely(0), drawn, UNKNOWN) == pytest.approx(expected)


def test_a_label_that_is_wrong_as_often_as_the_network_expects_is_not_doubted() -> None:
    drawn = np.zeros((1, 4), dtype=np.uint8)
    assert doubt(np.full((2, 1, 4), 0.5), drawn, UNKNOWN) == pytest.approx(0)  # a hard patch
    wide = np.repeat(surely(0), 5, axis=2)
    drawn = np.array([[0] * 18 + [1] * 2], dtype=np.uint8)
    assert doubt(wide, drawn, UNKNOWN) == pytest.approx(0)


def test_a_label_that_is_contradicted_stands_out_and_one_that_agrees_does_not() -> None:
    drawn = np.zeros((1, 4), dtype=np.uint8)
    assert doubt(surely(1), drawn, UNKNOWN) > STANDS_OUT > 0 > doubt(surely(0), drawn, UNKNOWN)


def test_certainty_that_is_wrong_is_finite() -> None:
    assert doubt(np.array([[[0.0]], [[1.0]]]), np.zeros((1, 1), dtype=np.uint8), UNKNOWN) == pytest.approx(
        13.8, abs=0.1
    )


def test_a_label_without_any_class_says_nothing() -> None:
    assert doubt(surely(0), np.full((1, 4), UNKNOWN, dtype=np.uint8), UNKNOWN) is None
