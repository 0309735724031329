import math

import numpy as np
import pytest

from models.debris_share import (
    BARAKA_THRESHOLDS,
    debris_share,
    gains_by_debris_share,
    glacier_confusion,
    scores_by_debris_share,
)
from models.metrics import Metrics, confusion_matrix

IGNORE, DEBRIS = 255, 2


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def test_share_is_of_the_judged_pixels():
    truth = np.array([[0, 1, 2, 0], [IGNORE, IGNORE, IGNORE, IGNORE]], dtype=np.uint8)
    assert debris_share(truth, DEBRIS, IGNORE) == 0.25


def test_share_without_a_judged_pixel_is_undefined():
    assert math.isnan(debris_share(np.full((2, 2), IGNORE), DEBRIS, IGNORE))


def test_merging_forgives_the_wrong_kind_of_ice():
    confusion = np.array([[50, 3, 1], [4, 20, 5], [2, 6, 9]])
    assert glacier_confusion(confusion, background=0).tolist() == [[50, 4], [6, 40]]
    assert glacier_confusion(confusion[::-1, ::-1], background=2).tolist() == [[50, 4], [6, 40]]


def test_merged_matrix_is_that_of_merged_masks():
    generator = seeded()
    truth, prediction = generator.integers(3, size=(2, 5, 8, 8))
    of_masks = [
        confusion_matrix((p > 0).astype(int), (t > 0).astype(int), 2, IGNORE)
        for p, t in zip(prediction, truth, strict=True)
    ]
    of_matrices = np.stack([confusion_matrix(p, t, 3, IGNORE) for p, t in zip(prediction, truth, strict=True)])
    np.testing.assert_array_equal(glacier_confusion(of_matrices, 0), of_masks)
    np.testing.assert_array_equal(glacier_confusion(np.stack(of_masks), 0), of_masks)


def four_patches() -> tuple[np.ndarray, np.ndarray]:
    """Glacier pixels hit and missed 9 + 1, 6 + 4, 2 + 8, 10 + 0; the debris shares grow, the last is unknown."""
    hits = np.array([9, 6, 2, 10])
    confusions = np.zeros((4, 2, 2), dtype=np.int64)
    confusions[:, 0, 0], confusions[:, 1, 0], confusions[:, 1, 1] = 90, 10 - hits, hits
    return confusions, np.array([0.0, 0.01, 0.06, np.nan])


def test_subsets_hold_what_exceeds_the_threshold_and_are_pooled():
    """More than 0: (6 + 2) / 20, where 1 % does not exceed 1 %; more than 10 %: nothing."""
    scores = scores_by_debris_share(*four_patches(), 0, seeded())
    assert [score.more_than for score in scores] == list(BARAKA_THRESHOLDS)
    assert [score.patches for score in scores] == [2, 1, 1, 1, 0]
    assert [score.value for score in scores] == pytest.approx([0.4, 0.2, 0.2, 0.2, np.nan], nan_ok=True)
    assert [score.low for score in scores] == pytest.approx([0.2, 0.2, 0.2, 0.2, np.nan], nan_ok=True)
    assert [score.high for score in scores] == pytest.approx([0.6, 0.2, 0.2, 0.2, np.nan], nan_ok=True)


def test_baraka_trap_subset_score_is_of_pooled_counts_not_a_mean_of_patches():
    """IoU 1/1 and 1/99: pooled 2/100, mean about 1/2."""
    confusions = np.array([[[99, 0], [0, 1]], [[1, 0], [98, 1]]])
    (score,) = scores_by_debris_share(confusions, np.array([0.5, 0.5]), 0, seeded(), thresholds=[0.0])
    assert score.value == pytest.approx(0.02)


def test_lowest_threshold_with_all_patches_is_the_glacier_iou_of_the_whole_set():
    confusions = seeded().integers(1, 50, size=(30, 3, 3))
    (score,) = scores_by_debris_share(confusions, np.full(30, 0.2), 0, seeded(), thresholds=[0.0])
    whole = Metrics.from_confusion(glacier_confusion(confusions.sum(axis=0), 0)).iou[1]
    assert score.value == pytest.approx(whole)
    assert score.low < whole < score.high


def test_gain_is_the_difference_and_its_interval_pairs_the_patches():
    """`after` finds one glacier pixel more in every patch of 10: the gain is 1/10 in every resample, without doubt."""
    before, shares = four_patches()
    before, shares = before[:3], shares[:3] + 0.001
    after = before + np.array([[0, 0], [-1, 1]])
    (gain,) = gains_by_debris_share(before, after, shares, 0, seeded(), thresholds=[0.0])
    assert (gain.patches, gain.value, gain.low, gain.high) == pytest.approx((3, 0.1, 0.1, 0.1))


def test_gain_compares_binary_with_multiclass():
    multiclass = np.zeros((2, 3, 3), dtype=np.int64)
    multiclass[:, 1, 2] = 6
    multiclass[:, 2, 0] = 4
    binary = np.array([[[0, 0], [5, 5]]] * 2)
    (gain,) = gains_by_debris_share(binary, multiclass, np.array([0.4, 0.4]), 0, seeded(), thresholds=[0.1])
    assert gain.value == pytest.approx(0.6 - 0.5)


def test_percentages_are_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; found \[10\.0\]; divide percentages by 100"):
        scores_by_debris_share(*four_patches(), 0, seeded(), thresholds=[10.0])


def test_one_share_for_each_matrix_is_needed():
    confusions, shares = four_patches()
    with pytest.raises(ValueError, match=r"shape \(4, 2, 2\) and shares of shape \(3,\)"):
        scores_by_debris_share(confusions, shares[:3], 0, seeded())
