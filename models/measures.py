"""Acquisition measures: from the maps of a patch to the numbers that strategies choose by.

Pixels without data, or masked as unknown, count as zero uncertainty, and as background, over the full size of the
patch. Averaging over valid pixels only would let slivers at the scene's edge outrank full patches: 38 to 58 % of a
batch then went there.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

MapName = Literal["predictive_entropy", "mutual_information", "margin", "variance"]
"""A map of uncertainty of :class:`models.mc_dropout.McPrediction`."""

Reducer = Callable[[NDArray[np.floating], NDArray[np.bool_]], float]

TOP_SHARE: Final = 0.10
"""Share of the pixels of a patch that the measures ending in ``top10`` average."""


@dataclass(frozen=True)
class Measure:
    """A ranking measure.

    Attributes:
        map_name: Which map of :class:`models.mc_dropout.McPrediction` it reads.
        reduce: From that map (h, w) and the valid pixels (h, w) to a number; higher is more uncertain.
    """

    map_name: MapName
    reduce: Reducer


@dataclass(frozen=True)
class PatchProfile:
    """What strategies that look at classes know of a patch.

    Attributes:
        foreground_share: Share of the pixels that are more probably foreground than background, in [0, 1].
        class_entropy: (K - 1,) float64, for each foreground class the mean over the top tenth of the pixels of
            entropy times the probability of the class, in nats (ClaSP PE: Lüth et al. 2026, arXiv:2601.13677).
    """

    foreground_share: float
    class_entropy: NDArray[np.float64]


def reduce_mean(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return the mean over the whole patch, invalid pixels counting as 0.

    Args:
        uncertainty: (h, w) float, >= 0; NaN counts as invalid.
        valid: (h, w) bool, False where there is no data or nobody can judge.

    Returns:
        The mean, in the unit of the map.

    Raises:
        ValueError: The shapes differ or the patch is empty.
    """
    return float(_zero_filled(uncertainty, valid).mean(dtype=np.float64))


def reduce_top_share(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_], share: float = TOP_SHARE) -> float:
    """Return the mean over the most uncertain pixels: the ``share`` of the whole patch with the highest values.

    Where glaciers are rare, a plain mean prefers patches of low uncertainty everywhere to those with a small, uncertain
    glacier; the mean over the top tenth prefers the latter.

    Args:
        uncertainty: (h, w) float, >= 0; NaN counts as invalid.
        valid: (h, w) bool, False where there is no data or nobody can judge.
        share: Share of all h * w pixels to average, in (0, 1]; rounded up to whole pixels.

    Returns:
        The mean, in the unit of the map.

    Raises:
        ValueError: The shapes differ, the patch is empty, or the share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share of {share} was given; it must lie in (0, 1]")
    return _top_mean(_zero_filled(uncertainty, valid), share)


MEASURES: Final[dict[str, Measure]] = {
    "entropy_top10": Measure("predictive_entropy", reduce_top_share),
    "entropy_mean": Measure("predictive_entropy", reduce_mean),
    "mutual_information": Measure("mutual_information", reduce_mean),
    "margin_top10": Measure("margin", reduce_top_share),
    "variance_top10": Measure("variance", reduce_top_share),
}
"""The measures that rank patches; their maps are defined by :class:`models.mc_dropout.McPrediction`."""


def score_patch(
    maps: Mapping[MapName, NDArray[np.floating]], valid: NDArray[np.bool_], names: Iterable[str] = MEASURES
) -> dict[str, float]:
    """Compute measures of one patch.

    Args:
        maps: Each map that these measures read, (h, w) float.
        valid: (h, w) bool, False where there is no data or nobody can judge.
        names: Which of :data:`MEASURES`; by default all.

    Returns:
        The value of each measure, by name, in the unit of its map.

    Raises:
        ValueError: The shapes differ or the patch is empty.
    """
    return {name: MEASURES[name].reduce(maps[MEASURES[name].map_name], valid) for name in names}


def profile_patch(
    probability: NDArray[np.floating], entropy: NDArray[np.floating], valid: NDArray[np.bool_]
) -> PatchProfile:
    """Compute what strategies that look at classes know of a patch.

    Args:
        probability: (K, h, w) class probabilities, background first.
        entropy: (h, w) their entropy in nats.
        valid: (h, w) bool, False where there is no data or nobody can judge.

    Returns:
        The profile.

    Raises:
        ValueError: The shapes differ or the patch is empty.
    """
    uncertain = _zero_filled(entropy, valid)
    share = float(((probability[0] < 0.5) & valid).mean())
    by_class = [_top_mean(uncertain * of_class, TOP_SHARE) for of_class in probability[1:]]
    return PatchProfile(share, np.array(by_class))


def _zero_filled(uncertainty: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.floating]:
    if uncertainty.shape != valid.shape or uncertainty.size == 0:
        raise ValueError(
            f"the map has shape {uncertainty.shape} and the valid pixels {valid.shape}; "
            "they must agree and not be empty"
        )
    filled: NDArray[np.floating] = np.where(valid & ~np.isnan(uncertainty), uncertainty, uncertainty.dtype.type(0))
    return filled


def _top_mean(values: NDArray[np.floating], share: float) -> float:
    """Return the mean of the highest values, a share of them all, rounded up."""
    count = math.ceil(share * values.size)
    # Partitioned in the precision of the map: float32 takes half the time of float64. Only the mean needs more.
    highest = np.partition(values.ravel(), values.size - count)[-count:]
    return float(highest.mean(dtype=np.float64))
