import numpy as np
import pytest

from models.pixels import as_rows, sample_pixels
from tests.models.pixel_worlds import IGNORE, separable_patches


def numbered_patches(sizes):
    """Patches whose only channel numbers the pixels through all patches, and whose class is the number modulo 4."""
    patches, start = [], 0
    for height, width in sizes:
        numbers = np.arange(start, start + height * width).reshape(1, height, width)
        patches.append((numbers.astype(np.float32), (numbers[0] % 4).astype(np.uint8)))
        start += height * width
    return patches


def test_a_row_of_the_table_is_a_pixel_and_a_column_a_channel():
    raw = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert as_rows(raw).tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]


def test_each_pixel_is_drawn_once_with_the_class_it_has():
    sample = sample_pixels(numbered_patches([(4, 5), (3, 3), (2, 8)]), 30, IGNORE, seed=0)
    numbers = sample.features[:, 0].astype(int)
    assert sample.features.shape == (30, 1)
    assert len(set(numbers)) == 30
    np.testing.assert_array_equal(sample.classes, numbers % 4)


def test_all_pixels_are_returned_when_there_are_fewer():
    sample = sample_pixels(numbered_patches([(4, 5), (3, 3)]), 1000, IGNORE, seed=0)
    assert sorted(sample.features[:, 0]) == list(range(29))


def test_unjudged_pixels_and_pixels_with_any_nodata_are_not_drawn():
    raw = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    raw[1, 0, 0] = np.nan
    mask = np.array([[0, 1], [IGNORE, 2]], dtype=np.uint8)
    sample = sample_pixels([(raw, mask)], 10, IGNORE, seed=0)
    assert sorted(zip(sample.features.tolist(), sample.classes.tolist(), strict=True)) == [([1, 5], 1), ([3, 7], 2)]


def test_the_sample_keeps_the_shares_of_the_classes():
    """One tenth of 40,000 pixels is class 1; of 4,000 drawn, 400 are expected, with a standard deviation of 18."""
    mask = np.zeros((200, 200), dtype=np.uint8)
    mask[:20] = 1
    sample = sample_pixels([(np.zeros((1, 200, 200), dtype=np.float32), mask)], 4000, IGNORE, seed=0)
    assert abs(int((sample.classes == 1).sum()) - 400) < 4 * 18


def test_early_and_late_patches_are_drawn_alike():
    """Of 3,000 pixels in three patches of 1,000, 900 drawn: 300 a patch, with a standard deviation of 12."""
    sample = sample_pixels(numbered_patches([(20, 50)] * 3), 900, IGNORE, seed=1)
    by_patch = np.bincount((sample.features[:, 0] // 1000).astype(int))
    assert (abs(by_patch - 300) < 4 * 12).all()


def test_the_draw_depends_on_the_seed_alone():
    first, again, other = (sample_pixels(separable_patches(), 50, IGNORE, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.classes, again.classes)
    assert not np.array_equal(first.features, other.features)


def test_patches_without_a_usable_pixel_are_refused():
    raw, mask = separable_patches(1)[0]
    with pytest.raises(ValueError, match="no pixel of the training patches is judged"):
        sample_pixels([(raw, np.full_like(mask, IGNORE))], 10, IGNORE, seed=0)
    with pytest.raises(ValueError, match="no pixel of the training patches is judged"):
        sample_pixels([], 10, IGNORE, seed=0)
    with pytest.raises(ValueError, match="0 pixels were asked for"):
        sample_pixels([(raw, mask)], 0, IGNORE, seed=0)
    with pytest.raises(ValueError, match="of the same ground"):
        sample_pixels([(raw, mask[:-1])], 10, IGNORE, seed=0)
