"""Acquisition measures: from an uncertainty map of a patch to the one number that ranks it.

Pixels without data, or masked as unknown, count as zero uncertainty over the full size of the patch. Averaging over
valid pixels only would let slivers at the scene's edge outrank full patches: 38 to 58 % of a batch then went there.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Reducer = Callable[[NDArray[np.floating], NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Measure:
    """A ranking measure.

    Attributes:
        map_name: Which map of :class:`models.mc_dropout.McPrediction` it reads.
        reduce: From that map (h, w) and the valid pixels (h, w) to a number; higher is more uncertain.
    """

    map_name: Literal["predictive_entropy", "mutual_information"]
    reduce: Reducer


def reduce_mean(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return the mean over the whole patch, invalid pixels counting as 0.

    Args:
        uncertainty: (h, w) float, >= 0, in nats; NaN counts as invalid.
        valid: (h, w) bool, False where there is no data or nobody can judge.

    Returns:
        The mean in nats.

    Raises:
        ValueError: The shapes differ or the patch is empty.
    """
    return float(_zero_filled(uncertainty, valid).mean())


def reduce_top_share(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_], share: float = 0.10) -> float:
    """Return the mean over the most uncertain pixels: the ``share`` of the whole patch with the highest values.

    Where glaciers are rare, a plain mean prefers patches of low uncertainty everywhere to those with a small, uncertain
    glacier; the mean over the top tenth prefers the latter.

    Args:
        uncertainty: (h, w) float, >= 0, in nats; NaN counts as invalid.
        valid: (h, w) bool, False where there is no data or nobody can judge.
        share: Share of all h * w pixels to average, in (0, 1]; rounded up to whole pixels.

    Returns:
        The mean in nats.

    Raises:
        ValueError: The shapes differ, the patch is empty, or the share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share of {share} was given; it must lie in (0, 1]")
    values = _zero_filled(uncertainty, valid).ravel()
    count = math.ceil(share * values.size)
    return float(np.partition(values, values.size - count)[-count:].mean())


MEASURES: dict[str, Measure] = {
    "entropy_top10": Measure("predictive_entropy", reduce_top_share),
    "entropy_mean": Measure("predictive_entropy", reduce_mean),
    "mutual_information": Measure("mutual_information", reduce_mean),
}


def score_patch(maps: Mapping[str, NDArray[np.floating]], valid: NDArray[np.bool_]) -> dict[str, float]:
    """Compute every measure of one patch.

    Args:
        maps: ``"predictive_entropy"`` and ``"mutual_information"``, each (h, w) float in nats.
        valid: (h, w) bool, False where there is no data or nobody can judge.

    Returns:
        The value of each measure in :data:`MEASURES`, by name, in nats.

    Raises:
        ValueError: The shapes differ or the patch is empty.
    """
    return {name: measure.reduce(maps[measure.map_name], valid) for name, measure in MEASURES.items()}


def _zero_filled(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    if uncertainty.shape != valid.shape or uncertainty.size == 0:
        raise ValueError(
            f"the map has shape {uncertainty.shape} and the valid pixels {valid.shape}; "
            "they must agree and not be empty"
        )
    usable = valid & ~np.isnan(uncertainty)
    return np.where(usable, uncertainty, 0.0).astype(np.float64)
