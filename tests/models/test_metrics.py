import math
from dataclasses import astuple

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from models.metrics import Metrics, confusion_matrix, empty_mask_mean_iou

IGNORE = 255


def test_rows_are_truth_and_columns_prediction():
    target = np.array([[0, 0, 1], [2, 2, IGNORE]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1], [2, 0, 2]])
    assert confusion_matrix(prediction, target, 3, IGNORE).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_scores_of_a_matrix_worked_out_by_hand():
    """Class 0: TP 50, FP 10, FN 20; class 1: TP 20, FP 20, FN 10. Chance (60 * 70 + 40 * 30) / 100^2 = 0.54."""
    scores = Metrics.from_confusion(np.array([[50, 20], [10, 20]]))
    assert scores.iou == pytest.approx((50 / 80, 20 / 50))
    assert scores.precision == pytest.approx((50 / 60, 20 / 40))
    assert scores.recall == pytest.approx((50 / 70, 20 / 30))
    assert scores.false_alarm == pytest.approx((10 / 60, 20 / 40))
    assert scores.missed_alarm == pytest.approx((20 / 70, 10 / 30))
    assert scores.mean_iou == pytest.approx((50 / 80 + 20 / 50) / 2)
    assert scores.overall_accuracy == pytest.approx(0.7)
    assert scores.kappa == pytest.approx((0.7 - 0.54) / (1 - 0.54))


@pytest.mark.parametrize(("seed", "classes"), [(0, 3), (1, 2), (2, 4), (3, 3)])
def test_agrees_with_scikit_learn(seed, classes):
    generator = np.random.default_rng(seed)
    target = generator.choice(classes, size=(40, 50), p=generator.dirichlet(np.ones(classes)))
    prediction = np.where(generator.random((40, 50)) < 0.7, target, generator.integers(classes, size=(40, 50)))
    matrix = confusion_matrix(prediction, target, classes, IGNORE)
    scores = Metrics.from_confusion(matrix)
    flat = target.ravel(), prediction.ravel()
    np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(*flat))
    assert scores.iou == pytest.approx(sklearn_metrics.jaccard_score(*flat, average=None))
    assert scores.precision == pytest.approx(sklearn_metrics.precision_score(*flat, average=None))
    assert scores.recall == pytest.approx(sklearn_metrics.recall_score(*flat, average=None))
    assert scores.overall_accuracy == pytest.approx(sklearn_metrics.accuracy_score(*flat))
    assert scores.kappa == pytest.approx(sklearn_metrics.cohen_kappa_score(*flat))


def test_he_trap_fn_is_glacier_missed_as_in_the_table_not_background_found_as_in_the_prose():
    """He's Table 3 with TP 30, FN 20, FP 10, TN 140, and equations 2 to 6 worked out.

    PRE = (40 * 50 + 160 * 150) / 200^2 = 0.65. With TN and FN swapped as in the prose, MA would be 140 / 170.
    """
    tp, fn, fp, tn = 30, 20, 10, 140
    target = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    prediction = np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])
    scores = Metrics.from_confusion(confusion_matrix(prediction, target, 2, IGNORE))
    assert scores.false_alarm[1] == pytest.approx(10 / 40)
    assert scores.missed_alarm[1] == pytest.approx(20 / 50)
    assert scores.overall_accuracy == pytest.approx(170 / 200)
    assert scores.kappa == pytest.approx((0.85 - 0.65) / (1 - 0.65))


@pytest.mark.parametrize(
    ("precision", "recall", "implied", "printed"),
    [(89.39, 84.65, 76.92, 70.16), (81.60, 80.77, 68.33, 68.33), (51.97, 53.81, 35.94, 35.94)],
)
def test_aryal_trap_cross_entropy_row_contradicts_itself_where_the_others_do_not(precision, recall, implied, printed):
    """With TP = 1, FP = 1 / P - 1 and FN = 1 / R - 1 our IoU is what precision and recall of Table 3 imply, in %.

    It is the printed IoU in the rows of alpha = 0.5 and of SLBA (debris), but not in that of cross-entropy (clean).
    """
    false, missed = 100 / precision - 1, 100 / recall - 1
    matrix = np.array([[5e7, false * 1e7], [missed * 1e7, 1e7]]).round().astype(np.int64)
    iou = 100 * Metrics.from_confusion(matrix).iou[1]
    assert iou == pytest.approx(implied, abs=0.01)
    assert (abs(iou - printed) < 0.01) == (implied == printed)


def test_baraka_trap_scores_are_pooled_not_averaged_over_patches_or_batches():
    """A patch with one pixel of ice, missed, and one full of ice, found: pooled IoU 8/9, mean of patches 1/2."""
    targets = np.zeros((2, 3, 3), dtype=np.uint8)
    targets[0, 0, 0] = 1
    targets[1].flat[:8] = 1
    predictions = targets.copy()
    predictions[0, 0, 0] = 0
    patches = [confusion_matrix(p, t, 2, IGNORE) for p, t in zip(predictions, targets, strict=True)]
    pooled = Metrics.from_confusion(sum(patches)).iou[1]
    assert pooled == pytest.approx(8 / 9)
    assert np.mean([Metrics.from_confusion(patch).iou[1] for patch in patches]) == pytest.approx(1 / 2)
    np.testing.assert_array_equal(sum(patches), confusion_matrix(predictions, targets, 2, IGNORE))


def test_baraka_trap_class_that_occurs_nowhere_is_undefined_and_left_out_of_the_mean():
    scores = Metrics.from_confusion(np.array([[6, 2, 0], [2, 2, 0], [0, 0, 0]]))
    assert all(math.isnan(values[2]) for values in astuple(scores)[:5])
    assert scores.mean_iou == pytest.approx((6 / 10 + 2 / 6) / 2)


def test_class_that_is_only_predicted_scores_zero_and_is_left_out_of_the_mean():
    scores = Metrics.from_confusion(np.array([[8, 2], [0, 0]]))
    assert scores.iou == pytest.approx((0.8, 0.0))
    assert math.isnan(scores.recall[1])
    assert scores.mean_iou == pytest.approx(0.8)


def test_nothing_judged_is_undefined_throughout():
    target = np.full((2, 2), IGNORE, dtype=np.uint8)
    scores = Metrics.from_confusion(confusion_matrix(np.zeros((2, 2), dtype=np.int64), target, 2, IGNORE))
    assert np.isnan(np.hstack(astuple(scores))).all()


def test_kappa_is_undefined_when_chance_is_certain():
    assert math.isnan(Metrics.from_confusion(np.array([[5, 0], [0, 0]])).kappa)


def test_empty_mask_scores_the_background_share_over_the_classes_present():
    """46 % background, so IoU .46 / 0 / 0; what was predicted does not matter."""
    matrix = np.array([[30, 10, 6], [4, 40, 0], [0, 5, 5]])
    assert empty_mask_mean_iou(matrix) == pytest.approx(0.46 / 3)
    assert empty_mask_mean_iou(matrix[::-1, ::-1], background=2) == pytest.approx(0.46 / 3)


def test_empty_mask_is_perfect_where_there_is_no_ice():
    assert empty_mask_mean_iou(np.array([[7, 3], [0, 0]])) == 1.0


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"shape \(2, 2\), the target \(2, 3\)"),
        (np.array([3]), np.array([0]), "prediction holds values from 3 to 3"),
        (np.array([0]), np.array([7]), "target holds values from 7 to 7"),
        (np.array([0.0]), np.array([0]), "prediction has dtype float64"),
    ],
)
def test_what_cannot_be_counted_is_refused(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(prediction, target, 3, IGNORE)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), int), np.zeros(4, int), np.array([[1, -1], [0, 1]])])
def test_what_is_no_confusion_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="a square matrix of counts is needed"):
        Metrics.from_confusion(matrix)
