import numpy as np
import pytest

from models.image_objects import object_means, regions_to_edit, segment

UNKNOWN = 255


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_two_even_halves_are_two_objects_whatever_the_number_of_bands(bands):
    image = np.random.default_rng(0).normal(0, 0.05, (bands, 20, 30)).astype(np.float32)
    image[:, :, 15:] += 2.0
    labels = segment(image, 100.0)
    assert set(labels[:, :13].ravel()).isdisjoint(labels[:, 17:].ravel())
    assert len(np.unique(labels[:, :13])) == len(np.unique(labels[:, 17:])) == 1


def test_a_higher_scale_makes_larger_objects():
    image = np.random.default_rng(0).normal(0, 1, (2, 40, 40)).astype(np.float32)
    assert segment(image, 400.0).max() < segment(image, 25.0).max()


def test_means_are_of_the_valid_pixels_of_each_object():
    labels = np.array([[0, 0, 1], [0, 2, 1]])
    nan = np.nan
    values = np.array([[[1, 2, 5], [6, nan, 7]], [[nan, 4, 0], [8, nan, nan]]], dtype=np.float32)
    np.testing.assert_array_equal(object_means(values, labels), [[3, 6], [6, 0], [nan, nan]])


def test_regions_to_edit_are_connected_wrong_pixels_of_one_true_class():
    truth = np.array([[1, 1, 0, 0], [1, 2, 0, 255], [0, 0, 0, 255]], dtype=np.uint8)
    predicted = np.array([[0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=np.uint8)
    # Wrong: two pixels of class 1, the one of class 2 beside them, and two of background that touch at a corner.
    assert regions_to_edit(predicted, truth, UNKNOWN) == 3
    assert regions_to_edit(predicted, truth, UNKNOWN, least_px=2) == 2
    assert regions_to_edit(predicted, truth, UNKNOWN, least_px=3) == 0
    assert regions_to_edit(truth, truth, UNKNOWN) == 0
