"""The run lengths in which a proposal's row stores the pixels that it asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from catalog.pixel_regions import covers_patch, decode_region, encode_region

LEFT = [0, 2, 2, 2, 2, 2, 2]  # the left half of 3 rows and 4 columns: two asked for, two not, ...


def test_runs_go_row_by_row_and_begin_with_pixels_not_asked_for() -> None:
    region = np.zeros((3, 4), dtype=bool)
    region[:, :2] = True
    assert encode_region(region) == LEFT
    np.testing.assert_array_equal(decode_region(LEFT, 3, 4), region)
    assert encode_region(~region) == [2, 2, 2, 2, 2, 2]


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=7)).filter(lambda region: region.any()))
def test_every_region_is_read_back(region: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_region(encode_region(region), *region.shape), region)


@given(st.integers(1, 9), st.integers(1, 9))
def test_no_runs_ask_for_the_whole_patch(height: int, width: int) -> None:
    assert decode_region(None, height, width).all()


@pytest.mark.parametrize("runs", [[], [1, 2], [13], [-1, 13], [0, 2, 2, 2, 2, 2, 3]])
def test_runs_of_another_patch_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="expected those of 3 x 4"):
        decode_region(runs, 3, 4)


def test_a_region_has_a_pixel_and_two_axes() -> None:
    with pytest.raises(ValueError, match="at least one"):
        encode_region(np.zeros((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="expected bool"):
        encode_region(np.ones(4, dtype=bool))


def test_halves_cover_a_patch_together() -> None:
    right = [2, 2, 2, 2, 2, 2]
    assert not covers_patch([LEFT], 3, 4)
    assert covers_patch([LEFT, right], 3, 4)
    assert covers_patch([None], 3, 4)
    assert not covers_patch([], 3, 4)
