import numpy as np
import pytest

from models.ndsi import NDSI_THRESHOLDS, NdsiThreshold, ndsi_sweep

IGNORE = 255


def test_the_sweep_is_that_of_he():
    assert NDSI_THRESHOLDS == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_glacier_is_where_the_index_reaches_the_threshold_and_nodata_is_background():
    ndsi = np.array([[-0.5, 0.1, 0.4], [0.39, 0.9, np.nan]], dtype=np.float32)
    prediction = NdsiThreshold(0.4).predict(ndsi)
    assert prediction.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert prediction.dtype == np.uint8


def test_sweep_worked_out_by_hand():
    """Both kinds of ice are glacier. At 0: TP 3, FP 2, FN 0; at 0.3: TP 3, FP 1; at 0.6: TP 1, FP 0, FN 2."""
    ndsi = np.array([[0.8, 0.5, 0.35], [0.45, 0.1, -0.3], [0.9, 0.9, -0.2]], dtype=np.float32)
    mask = np.array([[1, 2, 1], [0, 0, 0], [IGNORE, IGNORE, 0]], dtype=np.uint8)
    sweep = ndsi_sweep([(ndsi, mask)], IGNORE, thresholds=(0.0, 0.3, 0.6))
    assert [scores.iou[1] for scores in sweep.scores] == pytest.approx([3 / 5, 3 / 4, 1 / 3])
    assert [scores.missed_alarm[1] for scores in sweep.scores] == pytest.approx([0, 0, 2 / 3])
    assert [scores.false_alarm[1] for scores in sweep.scores] == pytest.approx([2 / 5, 1 / 4, 0])
    assert [scores.overall_accuracy for scores in sweep.scores] == pytest.approx([5 / 7, 6 / 7, 5 / 7])
    assert sweep.best == NdsiThreshold(0.3)


def test_the_lowest_of_equal_thresholds_is_best_whatever_their_order():
    ndsi, mask = np.array([[0.9, -0.9]], dtype=np.float32), np.array([[1, 0]], dtype=np.uint8)
    assert ndsi_sweep([(ndsi, mask)], IGNORE, thresholds=(0.5, 0.2, 0.4)).best == NdsiThreshold(0.2)


def test_patches_are_pooled_not_averaged():
    """One patch of a single missed glacier pixel, one of eight found: pooled IoU 8/9, mean of patches 1/2."""
    missed = np.array([[-1.0]], dtype=np.float32), np.array([[1]], dtype=np.uint8)
    found = np.full((2, 4), 0.9, dtype=np.float32), np.ones((2, 4), dtype=np.uint8)
    (scores,) = ndsi_sweep([missed, found], IGNORE, thresholds=(0.5,)).scores
    assert scores.iou[1] == pytest.approx(8 / 9)


def test_a_higher_threshold_never_misses_less():
    generator = np.random.default_rng(0)
    mask = generator.integers(3, size=(30, 40)).astype(np.uint8)
    ndsi = (generator.normal(size=mask.shape) * 0.3 + 0.3 * (mask > 0)).astype(np.float32)
    missed = [scores.missed_alarm[1] for scores in ndsi_sweep([(ndsi, mask)], IGNORE).scores]
    assert missed == sorted(missed)


def test_hes_own_table_picks_the_threshold_of_0_1_by_iou():
    """Table 4: from missed alarm m and false alarm f, 1 / IoU = 1 / (1 - m) + 1 / (1 - f) - 1."""
    missed = np.array([13.97, 16.06, 17.79, 19.56, 21.43, 23.43, 25.75, 28.66]) / 100
    false = np.array([22.21, 20.36, 19.40, 18.57, 17.92, 17.42, 16.99, 16.68]) / 100
    iou = 1 / (1 / (1 - missed) + 1 / (1 - false) - 1)
    assert NDSI_THRESHOLDS[iou.argmax()] == 0.1


def test_a_sweep_without_glacier_or_without_thresholds_is_refused():
    ndsi, mask = np.zeros((2, 2), dtype=np.float32), np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ValueError, match="no judged pixel of the patches is glacier"):
        ndsi_sweep([(ndsi, mask)], IGNORE)
    with pytest.raises(ValueError, match="no NDSI threshold was given"):
        ndsi_sweep([(ndsi, mask + 1)], IGNORE, thresholds=())
