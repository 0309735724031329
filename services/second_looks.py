"""Which labels the newest scoring contradicts with confidence: their annotator slipped, or the network is wrong.

A version that has learnt from a label and still contradicts it has seen many labels that speak against it (confident
learning: Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import BACKGROUND, UNKNOWN
from services.expected_edits import PatchMaps

MOST_ERROR: Final = 0.1
"""A version contradicts a label with confidence where its own class is wrong with at most this probability."""
LEAST_SHARE: Final = 0.01
"""Share of the pixels of a label from which on it is worth a second look. Below it are single pixels along edges."""


def contradicted(label: NDArray[np.uint8], maps: PatchMaps, *, binary: bool) -> NDArray[np.bool_]:
    """Return where a scoring is confident of another class than a label names.

    Args:
        label: (h, w) class values, `UNKNOWN` where nobody named a class.
        maps: The classes of the scoring with their calibrated probabilities of being wrong.
        binary: Whether the version tells only foreground from background; then only these two are compared.

    Returns:
        (h, w)
    """
    known = (label != UNKNOWN) & (maps.classes != UNKNOWN)
    differs = (label == BACKGROUND) != (maps.classes == BACKGROUND) if binary else label != maps.classes
    with np.errstate(invalid="ignore"):
        confident = maps.error <= MOST_ERROR  # NaN, where nothing is known, is not
    found: NDArray[np.bool_] = known & differs & confident
    return found


def contradicted_share(label: NDArray[np.uint8], maps: PatchMaps, *, binary: bool) -> float:
    """Return the share in [0, 1] of the pixels of a label that a scoring contradicts; 0 for a label without any class.

    Args:
        label: See `contradicted`.
        maps: See there.
        binary: See there.
    """
    named = int((label != UNKNOWN).sum())
    return float(contradicted(label, maps, binary=binary).sum()) / named if named else 0.0


def rank(shares: Mapping[int, float]) -> list[int]:
    """Return the patches that deserve a second look, those whose labels are contradicted most first.

    Args:
        shares: Contradicted share of the labels of each patch, by its id. Shares below `LEAST_SHARE` are left out.
    """
    doubted = [patch_id for patch_id, share in shares.items() if share >= LEAST_SHARE]
    return sorted(doubted, key=lambda patch_id: (-shares[patch_id], patch_id))
