"""Thresholding of the normalised difference snow index (NDSI), the baseline of He et al."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import Metrics, confusion_matrix

NDSI_THRESHOLDS: Final = tuple(step / 10 for step in range(8))
"""0, 0.1, ... 0.7, the sweep of He et al., table 4."""

GLACIER: Final = 1
"""The class of glacier in the binary maps of this file; background is 0."""


@dataclass(frozen=True)
class NdsiThreshold:
    """Classifier that predicts glacier where the NDSI is at least a threshold (Hall et al. 1995).

    It does not distinguish clean from debris-covered ice. A published threshold (0.4 of Hall et al.) holds for
    reflectances; on an index of digital numbers only a threshold that was fitted to the same numbers means anything,
    because haze and the offset of the digital numbers move the index.

    Attributes:
        threshold: In [-1, 1].
    """

    threshold: float

    def predict(self, ndsi: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Classify each pixel by the threshold.

        Args:
            ndsi: (Green - SWIR1) / (Green + SWIR1), float, any shape, NaN = nodata.

        Returns:
            uint8 of the same shape: 1 glacier, 0 background; nodata is background.
        """
        return (ndsi >= self.threshold).astype(np.uint8)


@dataclass(frozen=True)
class NdsiSweep:
    """The scores of every threshold: table 4 of He et al.

    Attributes:
        thresholds: In the order given.
        scores: The scores of each, over two classes: 0 background, 1 glacier.
    """

    thresholds: tuple[float, ...]
    scores: tuple[Metrics, ...]

    @property
    def best(self) -> NdsiThreshold:
        """The threshold with the highest glacier IoU; the lowest of several."""
        iou = [scores.iou[GLACIER] for scores in self.scores]
        return NdsiThreshold(
            min(threshold for threshold, value in zip(self.thresholds, iou, strict=True) if value == max(iou))
        )


def ndsi_sweep(
    patches: Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]],
    ignore_index: int,
    thresholds: Sequence[float] = NDSI_THRESHOLDS,
    background: int = 0,
) -> NdsiSweep:
    """Score NDSI thresholds, each from one confusion matrix pooled over all patches.

    He et al. choose the threshold by the same scores that they report. Sweep over training or validation
    patches here, and evaluate the best threshold on the test patches. (On their table 4 IoU, accuracy and kappa all
    pick 0.1, accuracy together with 0.2.)

    Args:
        patches: Pairs of NDSI (h, w) float, NaN = nodata, and mask (h, w) uint8.
        ignore_index: Mask value of pixels that nobody judged; they are not counted. Nodata pixels that were judged are.
        thresholds: The thresholds to try, in [-1, 1].
        background: Mask value of background; every other judged value is glacier.

    Returns:
        The sweep.

    Raises:
        ValueError: No threshold is given, a mask does not fit its image, or no judged pixel is glacier, so the
            thresholds cannot be compared.
    """
    if not thresholds:
        raise ValueError("no NDSI threshold was given; give at least one, between -1 and 1")
    confusions = np.zeros((len(thresholds), 2, 2), dtype=np.int64)
    for ndsi, mask in patches:
        truth = np.where(mask == ignore_index, ignore_index, mask != background)
        for index, threshold in enumerate(thresholds):
            confusions[index] += confusion_matrix(NdsiThreshold(threshold).predict(ndsi), truth, 2, ignore_index)
    if not confusions[0, GLACIER].sum():
        raise ValueError("no judged pixel of the patches is glacier; sweep over patches that hold some")
    scores = tuple(Metrics.from_confusion(confusion) for confusion in confusions)
    return NdsiSweep(tuple(thresholds), scores)
