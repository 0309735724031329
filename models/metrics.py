"""Scores of a segmentation, all from one confusion matrix pooled over the whole evaluation set.

Averaging the IoU of patches or batches, as published code does, gives an empty patch the weight of a glacier and is
undefined where a class does not occur. Add the matrices of the parts instead, then take the scores once.

*Traps*: the text of Baraka et al. says that counts are pooled, but their code averages batches; we pool. He
et al. swap TN and FN in the prose beneath their Table 3 (there "TN" is glacier predicted as background, and "FN" is
background predicted correctly); their table and equations 2 to 6 agree with the usual definitions, which are ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import score_ratios


def confusion_matrix(
    prediction: NDArray[np.integer], target: NDArray[np.integer], classes: int, ignore_index: int
) -> NDArray[np.int64]:
    """Count pixels by true and predicted class. The matrices of disjoint parts can be added.

    Args:
        prediction: Predicted classes, integer, any shape; values 0..classes-1 wherever the target is judged.
        target: True classes, integer, same shape; values 0..classes-1 or ``ignore_index``.
        classes: K.
        ignore_index: Target value of pixels that nobody judged; they are not counted.

    Returns:
        (K, K) int64; rows are the truth, columns the prediction.

    Raises:
        ValueError: The shapes differ, an array is not of integers, or a value is not a class.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"the prediction has shape {prediction.shape}, the target {target.shape}; they must agree")
    judged = target != ignore_index
    rows = _checked_classes("target", target[judged], classes)
    columns = _checked_classes("prediction", prediction[judged], classes)
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class Metrics:
    """Scores of a segmentation. A ratio whose denominator is 0 is undefined, and NaN: never 0, never 1.

    With TP, FP, FN the true positives, false positives and false negatives of a class, in pixels:

    Attributes:
        iou: For each class TP / (TP + FP + FN).
        precision: For each class TP / (TP + FP).
        recall: For each class TP / (TP + FN).
        false_alarm: For each class FP / (TP + FP) = 1 - precision (He et al.).
        missed_alarm: For each class FN / (TP + FN) = 1 - recall (He et al.).
        mean_iou: Mean of ``iou`` over the classes with true pixels, background included.
        overall_accuracy: Share of judged pixels that are right.
        kappa: Cohen's kappa (Cohen 1960): (accuracy - chance) / (1 - chance).
    """

    iou: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    false_alarm: tuple[float, ...]
    missed_alarm: tuple[float, ...]
    mean_iou: float
    overall_accuracy: float
    kappa: float

    @classmethod
    def from_confusion(cls, confusion: NDArray[np.int64]) -> "Metrics":
        """Compute the scores.

        Args:
            confusion: (K, K) counts; rows are the truth, columns the prediction.

        Returns:
            The scores.

        Raises:
            ValueError: The matrix is not square or holds a negative count.
        """
        if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or (confusion < 0).any():
            raise ValueError(f"a square matrix of counts is needed; found shape {confusion.shape}: {confusion}")
        return cls(
            iou=_floats(score_ratios.iou(confusion)),
            precision=_floats(score_ratios.precision(confusion)),
            recall=_floats(score_ratios.recall(confusion)),
            false_alarm=_floats(score_ratios.false_alarm(confusion)),
            missed_alarm=_floats(score_ratios.missed_alarm(confusion)),
            mean_iou=float(score_ratios.mean_iou(confusion)),
            overall_accuracy=float(score_ratios.overall_accuracy(confusion)),
            kappa=float(score_ratios.kappa(confusion)),
        )


def empty_mask_mean_iou(confusion: NDArray[np.int64], background: int = 0) -> float:
    """Return the mean IoU of a mask that is background everywhere, on the same truth.

    Pre-annotations of a model below this value are not shown: the annotator would only have to remove wrong outlines.

    Args:
        confusion: (K, K) counts of any prediction; only the truth (the row sums) is used.
        background: The class of the empty mask.

    Returns:
        The mean IoU in [0, 1], or NaN when no pixel was judged.

    Raises:
        ValueError: As :meth:`Metrics.from_confusion`.
    """
    empty = np.zeros_like(confusion)
    empty[:, background] = confusion.sum(axis=1)
    return Metrics.from_confusion(empty).mean_iou


def _checked_classes(name: str, values: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"the {name} has dtype {values.dtype}; class values must be integers")
    if values.size and (values.min() < 0 or values.max() >= classes):
        raise ValueError(
            f"the {name} holds values from {values.min()} to {values.max()} at judged pixels; "
            f"the {classes} classes are 0 to {classes - 1}"
        )
    return values.astype(np.int64)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
