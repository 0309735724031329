"""The part of a patch that an annotator is asked for, instead of all of it: pure functions of a map of uncertainty."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter

from catalog.settings import PatchPart

# Sides relative to the patch: 5 and 4 pixels of 64, 33 and 32 of 512.
_SMOOTHED_SHARE: Final = 1 / 16
_SMALLEST_SHARE: Final = 1 / 16
_CERTAIN: Final = 1e-6  # nats: running sums leave rounding errors where the uncertainty is 0

AskedPart = Callable[[NDArray[np.floating], NDArray[np.bool_], float], NDArray[np.bool_]]
"""From uncertainty (h, w), open pixels (h, w) and the largest share of the patch to the pixels asked for (h, w)."""


def uncertain_areas(uncertainty: NDArray[np.floating], is_open: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Return the connected areas of a patch where its uncertainty is highest.

    1. The uncertainty is averaged over a square of a sixteenth of the patch's side, which joins single pixels to areas
       and widens them.
    2. The pixels with the highest values are taken, up to the share of the patch.
    3. Areas smaller than a square of a sixteenth of the side are dropped, unless all are: annotators cannot judge
       ground without its surroundings, and each area costs them a look.

    Args:
        uncertainty: (h, w), at least 0; NaN where there is no data.
        is_open: (h, w), True where nobody has judged yet.
        share: Largest share of the patch's pixels, in (0, 1].

    Returns:
        (h, w) the pixels asked for: at least one if a pixel is usable. Where no pixel is uncertain at all, they are a
        quarter (`most_uncertain_quarter`).
    """
    usable = is_open & np.isfinite(uncertainty)
    side = min(uncertainty.shape)
    window = 2 * math.ceil(side * _SMOOTHED_SHARE / 2) + 1
    local = uniform_filter(np.where(usable, uncertainty, 0.0).astype(np.float64), window, mode="constant")
    local[~usable] = 0.0
    if not (local > _CERTAIN).any():
        return most_uncertain_quarter(uncertainty, is_open, share)
    count = min(math.floor(share * local.size), int((local > _CERTAIN).sum()))
    asked = np.zeros(local.size, dtype=np.bool_)
    asked[np.argsort(-local, axis=None, kind="stable")[: max(1, count)]] = True
    areas, number = label(asked.reshape(local.shape), np.ones((3, 3)))
    sizes = np.bincount(areas.ravel(), minlength=number + 1)
    large = sizes >= max(1, round(side * _SMALLEST_SHARE)) ** 2
    large[0] = False
    found: NDArray[np.bool_] = (large if large.any() else np.arange(number + 1) == 1 + sizes[1:].argmax())[areas]
    return found


def most_uncertain_quarter(
    uncertainty: NDArray[np.floating], is_open: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Return the open pixels of the quarter of a patch, one of four squares, with the highest sum of uncertainty.

    Args and result are those of `uncertain_areas`; the share is a quarter in any case.
    """
    usable = is_open & np.isfinite(uncertainty)
    quarters = []
    middle_row, middle_col = uncertainty.shape[0] // 2, uncertainty.shape[1] // 2
    for rows in (slice(None, middle_row), slice(middle_row, None)):
        for cols in (slice(None, middle_col), slice(middle_col, None)):
            quarter = np.zeros(uncertainty.shape, dtype=np.bool_)
            quarter[rows, cols] = usable[rows, cols]
            quarters.append(quarter)
    # Of equal sums, such as 0, the quarter with the most open pixels.
    return max(quarters, key=lambda quarter: (float(uncertainty[quarter].sum()), int(quarter.sum())))


PARTS: Final[dict[PatchPart, AskedPart]] = {
    PatchPart.AREAS: uncertain_areas,
    PatchPart.QUARTER: most_uncertain_quarter,
}
"""How the part is chosen, by the kind of part that a round asks for."""


def uncertainty_left(measure: str | None, entropy: NDArray[np.floating], is_open: NDArray[np.bool_]) -> float | None:
    """Return the score of a patch with what has been judged counted as certain.

    The same as `models.measures`, which workers that load no networks cannot import; a test compares them.

    Args:
        measure: Name of the measure.
        entropy: (h, w) predictive entropy in nats; NaN where there is no data.
        is_open: (h, w), True where nobody has judged yet.

    Returns:
        Nats; None if the measure is none of the predictive entropy.
    """
    left = np.where(is_open & np.isfinite(entropy), entropy, 0.0).astype(np.float64).ravel()
    if measure == "entropy_mean":
        return float(left.mean())
    if measure == "entropy_top10":
        return float(np.sort(left)[-math.ceil(0.1 * left.size) :].mean())
    return None
