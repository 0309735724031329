import numpy as np
import pytest

from models import score_ratios
from models.metrics import Metrics


def test_a_stack_of_matrices_scores_like_each_alone():
    stack = np.random.default_rng(0).integers(0, 5, size=(4, 6, 3, 3))
    stack[1, 2] = 0
    stack[2, 3, 1], stack[2, 3, :, 1] = 0, 0
    for name in ("iou", "precision", "recall", "false_alarm", "missed_alarm", "mean_iou", "overall_accuracy", "kappa"):
        together = getattr(score_ratios, name)(stack)
        alone = [[getattr(Metrics.from_confusion(matrix), name) for matrix in row] for row in stack]
        np.testing.assert_array_equal(together, np.array(alone), err_msg=name)


def test_a_ratio_without_denominator_is_nan_and_warns_of_nothing():
    nothing = np.zeros((2, 3, 3), dtype=np.int64)
    assert np.isnan(score_ratios.iou(nothing)).all()
    assert np.isnan(score_ratios.kappa(nothing)).all()
    assert np.isnan(score_ratios.overall_accuracy(nothing)).all()


def test_the_mean_iou_is_over_the_classes_with_true_pixels():
    """A pixel of class 1 is predicted as class 2, which does not occur: IoU 6 / 8, 2 / 5 and 0 / 1."""
    confusion = np.array([[6, 0, 0], [2, 2, 1], [0, 0, 0]])
    nothing = np.zeros((3, 3), dtype=np.int64)
    found = score_ratios.mean_iou(np.stack([confusion, nothing]))
    assert found == pytest.approx([(6 / 8 + 2 / 5) / 2, np.nan], nan_ok=True)
