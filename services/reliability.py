"""The calibration curve of a version: how often a class is found where the network gives it a probability.

The curve is the table of calibrated probabilities in a version's card (`models.area_error`): the observed frequency on
the validation scenes by the network's probability, fitted such that it never falls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_HIGHEST_LOG_ODDS: Final = 7.875
_TOLD: Final = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Reliability:
    """The calibration curve of one class.

    Attributes:
        name: The class.
        points: Probability that the network gives, and the observed frequency, rising in both.
        told: Observed frequency by probability, at 10, 50 and 90 %, interpolated.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    told: Mapping[float, float]


def middles(bins: int) -> list[float]:
    """Return the probability in the middle of each bin, as `models.calibration` has them: of equal width in log odds.

    That module itself loads scipy's optimisers, which takes longer than all that a page loads.
    """
    odds = np.exp(np.linspace(-_HIGHEST_LOG_ODDS, _HIGHEST_LOG_ODDS, bins))
    shares: list[float] = (odds / (1.0 + odds)).tolist()
    return shares


def reliability_curves(card: Mapping[str, Any]) -> list[Reliability]:
    """Return the curve of each class of a card, foreground classes first; none for cards of earlier releases.

    A class without a true pixel on the validation scenes has no curve: its table is not calibrated.
    """
    error = card.get("area_error")
    if error is None:
        return []
    background, *names = card["classes"]
    of_classes = {name: error["classes"][name] for name in names}
    tables = {name: fitted["table"] for name, fitted in of_classes.items() if fitted.get("true_px") != 0}
    if tables:  # else all the ground is background, which is not calibrated either
        tables[background] = error["background"]
    return [_curve(name, table) for name, table in tables.items()]


def _curve(name: str, table: list[float]) -> Reliability:
    given = middles(len(table))
    told = {share: float(np.interp(share, given, table)) for share in _TOLD}
    return Reliability(name, tuple(zip(given, table, strict=True)), told)
