"""Calibration of class probabilities: isotonic regression of the observed frequency of a class on its probability.

Networks that are trained by Dice losses are over-confident: of the pixels that they call ice with a probability of 0.99
far fewer are ice. Isotonic regression of each class against the rest (Zadrozny & Elkan 2002, Transforming classifier
scores into accurate multiclass probability estimates) assumes only that the order of the probabilities is right.

Probabilities are sorted into bins of equal width in log odds, so that a whole scene is summed up in a few numbers, and
the calibrated probability is a table with one value a bin.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

BINS: Final = 64
# From odds of 1 : 2300 to 2300 : 1; beyond these the first and the last bin hold everything.
_EDGES: Final = expit(np.linspace(-7.75, 7.75, BINS - 1)).astype(np.float32)

UNCALIBRATED: Final[NDArray[np.float64]] = expit(np.linspace(-7.875, 7.875, BINS))
"""(64,) the probability in the middle of each bin: the table of a version that was not calibrated."""


def probability_bins(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the bin (0 to 63) of each probability, in an array of the same shape.

    The bins are symmetric: `reverse` gives the bins of the complementary probabilities.
    """
    return np.searchsorted(_EDGES, probabilities.astype(np.float32, copy=False), side="right").astype(np.uint8)


def reverse(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the table of the complement of a class, whose probability is 1 minus that of the class."""
    complement: NDArray[np.float64] = 1.0 - table[::-1]
    return complement


def calibrate(total: NDArray[np.integer], true: NDArray[np.integer]) -> NDArray[np.float64]:
    """Fit the calibrated probability of a class.

    Args:
        total: (64,) judged pixels in each bin of the class's probability.
        true: (64,) how many of them are of the class.

    Returns:
        (64,) values in [0, 1] that do not decrease. Their sum over the pixels is the number of true pixels. Bins
        without pixels are interpolated. The result is `UNCALIBRATED` if no pixel is of the class, or all are: such
        ground does not tell at which probability the class begins.
    """
    if not 0 < true.sum() < total.sum():
        return UNCALIBRATED.copy()
    filled = total > 0
    fitted = isotonic_regression(true[filled] / total[filled], weights=total[filled]).x
    places = logit(UNCALIBRATED)
    table: NDArray[np.float64] = np.interp(places, places[filled], np.clip(fitted, 0.0, 1.0))
    return table


def calibration_error(total: NDArray[np.integer], true: NDArray[np.integer], table: NDArray[np.float64]) -> float:
    """Return the expected calibration error: the mean difference of probability and observed frequency.

    Naeini et al. 2015 (Obtaining well calibrated probabilities using Bayesian binning), for one class against the rest,
    over the bins of this module. Judge a fitted table on ground that it was not fitted on.

    Args:
        total: (64,) judged pixels in each bin.
        true: (64,) how many of them are of the class.
        table: (64,) the probability that each bin stands for.

    Returns:
        The error in [0, 1]; NaN without pixels.
    """
    pixels = int(total.sum())
    return float(np.abs(true - total * table).sum() / pixels) if pixels else float("nan")
