"""How much a calibrated network doubts a label that it has not learnt."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

STANDS_OUT: Final = 0.2
"""Doubt from which on a label is named, nats a pixel (``docs/benchmarks.md``)."""
_SMALLEST: Final = 1e-6  # probabilities are clipped there, so that a single pixel cannot outweigh a patch


def doubt(probabilities: NDArray[np.floating], label: NDArray[np.uint8], unknown: int) -> float | None:
    """Return by how much the loss of a label exceeds the loss that the network expected, in nats a pixel.

    The loss is the mean negative log-likelihood of the label's classes. A calibrated network expects the entropy of its
    prediction; so hard patches, of which it is unsure, are not doubted for being hard.

    Args:
        probabilities: (K, h, w) calibrated probabilities.
        label: (h, w) the classes of the label, of the network's classes.
        unknown: Value of the pixels of which nobody named a class.

    Returns:
        The difference; None if the label names no class anywhere.
    """
    known = label != unknown
    if not known.any():
        return None
    found = np.clip(probabilities[:, known].astype(np.float64), _SMALLEST, 1.0)
    loss = -np.log(np.take_along_axis(found, label[known][None].astype(np.int64), axis=0)).mean()
    entropy = -(found * np.log(found)).sum(axis=0).mean()
    return float(loss - entropy)
