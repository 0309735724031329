"""Count the pixels of masks of the same patch by class: pure functions.

`services.label_agreement` makes figures of the counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.classes import UNKNOWN

Counts = NDArray[np.int64]

OTHER, PREANNOTATED, BLIND = range(3)
"""The comparisons of a `Triple`: its two labels with each other, and each of them with the proposal."""


@dataclass(frozen=True)
class Triple:
    """Two labels of a patch by different people, and the proposal that one of them started from.

    Attributes:
        preannotated: (h, w) label that started from the proposal.
        blind: (h, w) label that started from an empty mask.
        proposal: (h, w) the proposal.
    """

    preannotated: NDArray[np.uint8]
    blind: NDArray[np.uint8]
    proposal: NDArray[np.uint8]


def count(reference: NDArray[np.uint8], drawn: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the pixels by the class that the reference names and by what was drawn.

    Args:
        reference: (h, w) class values; pixels of unknown class are not counted.
        drawn: (h, w) class values.
        classes: K, the number of classes.

    Returns:
        (K, K + 1): rows the class of the reference, columns the class drawn, the last one masked/unknown.
    """
    known = reference != UNKNOWN
    column = np.where(drawn == UNKNOWN, classes, drawn).astype(np.int64)
    pairs = reference[known].astype(np.int64) * (classes + 1) + column[known]
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1).astype(np.int64)


def count_triple(triple: Triple, classes: int) -> Counts:
    """Return the counts (3, K, K + 1) of the three comparisons on the pixels that all three masks know.

    Args:
        triple: The masks.
        classes: K, the number of classes.
    """
    known = (triple.preannotated != UNKNOWN) & (triple.blind != UNKNOWN) & (triple.proposal != UNKNOWN)
    preannotated, blind, proposal = triple.preannotated[known], triple.blind[known], triple.proposal[known]
    pairs = {OTHER: (blind, preannotated), PREANNOTATED: (proposal, preannotated), BLIND: (proposal, blind)}
    return np.stack([count(*pairs[number], classes) for number in sorted(pairs)])
