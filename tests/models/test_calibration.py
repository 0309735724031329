import numpy as np
import pytest

from models.calibration import BINS, UNCALIBRATED, calibrate, calibration_error, probability_bins, reverse


def counts(**by_bin):
    return np.array([by_bin.get(f"b{number}", 0) for number in range(BINS)])


def test_bins_hold_the_probability_of_their_middle_and_reverse_with_the_complement():
    assert probability_bins(UNCALIBRATED).tolist() == list(range(BINS))
    assert probability_bins(1 - UNCALIBRATED).tolist() == list(range(BINS))[::-1]
    np.testing.assert_allclose(reverse(UNCALIBRATED), UNCALIBRATED, atol=1e-12)
    assert probability_bins(np.array([[0.0, 0.5], [0.51, 1.0]], dtype=np.float32)).tolist() == [[0, 32], [32, 63]]


def test_calibrated_probabilities_are_the_frequencies_found_and_never_fall():
    """Bins 10, 20, 30 hold 1, 3 and 2 true of 10 pixels: the last two are pooled to 5 of 20."""
    total, true = counts(b10=10, b20=10, b30=10), counts(b10=1, b20=3, b30=2)
    table = calibrate(total, true)
    assert table[[0, 10, 15, 20, 30, 63]].tolist() == pytest.approx([0.1, 0.1, 0.175, 0.25, 0.25, 0.25])
    assert total @ table == pytest.approx(true.sum())


def test_without_pixels_probabilities_stay_as_they_are():
    np.testing.assert_array_equal(calibrate(counts(), counts()), UNCALIBRATED)
    assert np.isnan(calibration_error(counts(), counts(), UNCALIBRATED))


def test_ground_without_the_class_or_with_nothing_else_calibrates_nothing():
    total = counts(b10=10, b50=10)
    np.testing.assert_array_equal(calibrate(total, counts()), UNCALIBRATED)
    np.testing.assert_array_equal(calibrate(total, total), UNCALIBRATED)


def test_calibration_error_is_the_mean_distance_from_the_frequency():
    """Half of the pixels are said to be .9 and are .7, half .1 and are .2: (.2 + .1) / 2."""
    table = np.where(np.arange(BINS) < 32, 0.1, 0.9)
    assert calibration_error(counts(b5=10, b50=10), counts(b5=2, b50=7), table) == pytest.approx(0.15)
