"""How much a network doubts a label: figures by which the labels that made a version worse are found."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_CONFIDENCE: Final = 0.9
"""Calibrated probability from which on a prediction is confident."""
_SMALLEST: Final = 1e-6  # probabilities are clipped there, so that a single pixel cannot outweigh a patch


@dataclass(frozen=True)
class LabelDoubt:
    """What a network finds in a label, over the pixels with a known class.

    Attributes:
        loss: Mean negative log-likelihood, nats.
        entropy: Mean entropy of the prediction, nats: the loss that a calibrated network expects.
        differs: Share of the pixels that are predicted otherwise, in [0, 1].
        contradicted: Share of the pixels that are predicted otherwise with confidence, in [0, 1].
    """

    loss: float
    entropy: float
    differs: float
    contradicted: float


def doubt(
    probabilities: NDArray[np.floating], predicted: NDArray[np.uint8], label: NDArray[np.uint8], unknown: int
) -> LabelDoubt | None:
    """Return what a network finds in a label; None if the label names no class anywhere.

    Args:
        probabilities: (K, h, w) calibrated probabilities.
        predicted: (h, w) the classes that the network decides for.
        label: (h, w) the classes of the label, of the network's classes.
        unknown: Value of the pixels of which nobody named a class.
    """
    known = label != unknown
    if not known.any():
        return None
    found = np.clip(probabilities[:, known].astype(np.float64), _SMALLEST, 1.0)
    named = label[known]
    differs = predicted[known] != named
    confident = found.max(axis=0) >= LEAST_CONFIDENCE
    return LabelDoubt(
        loss=float(-np.log(np.take_along_axis(found, named[None].astype(np.int64), axis=0)).mean()),
        entropy=float(-(found * np.log(found)).sum(axis=0).mean()),
        differs=float(differs.mean()),
        contradicted=float((differs & confident).mean()),
    )
