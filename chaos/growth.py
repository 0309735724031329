"""Whether series of measurements grow: robust slopes with 95 % intervals, and verdicts from them.

The slope is that of Theil and Sen, the median of the slopes of all pairs of points, which single peaks do not move. Its
interval supposes independent points; a series whose points resemble their neighbours has a wider one. Therefore a
verdict also asks for growth above a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from scipy.stats import theilslopes

LIMIT: Final = 0.10
"""A series may grow by this share of its level in an hour."""
EVENT_LIMIT: Final = 0.25
"""An event may cost this share more bytes in the later half of a run than in its earlier half."""
FEWEST: Final = 8
"""Fewer points have no verdict."""


class Verdict(StrEnum):
    """What a series does. ``UNDECIDED``: the interval holds the limit; a longer run decides."""

    FLAT = "flat"
    STEPPED = "flat after a step"
    GROWS = "grows"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Slope:
    """A slope with its 95 % interval, in units of y per unit of x."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    """How a series moves.

    Attributes:
        level: Its median.
        hourly: Growth per hour, as a share of the level; None with fewer points than `FEWEST`.
        verdict: By `LIMIT`.
    """

    level: float
    hourly: Slope | None
    verdict: Verdict


@dataclass(frozen=True)
class Cost:
    """What an event adds to a store, in bytes.

    Attributes:
        early: In the earlier half of the points; None if they are fewer than `FEWEST`, or no event happened.
        late: In the later half; likewise.
        verdict: By `EVENT_LIMIT`.
    """

    early: Slope | None
    late: Slope | None
    verdict: Verdict


def judge_trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Return whether a series is flat.

    It is flat if the upper end of the interval is at most `LIMIT`, and flat after a step if that is true of the later
    half of its points only. It grows if the lower end is above `LIMIT`.

    Args:
        seconds: When the values were measured, without the warm-up.
        values: Not negative, at least one.
    """
    level = float(np.median(values))
    hours = [value / 3600 for value in seconds]
    whole = _slope(hours, values, level)
    half = len(values) // 2
    later = _slope(hours[half:], values[half:], level)
    if whole is None:
        verdict = Verdict.UNDECIDED
    elif whole.high <= LIMIT:
        verdict = Verdict.FLAT
    elif later is not None and later.high <= LIMIT:
        verdict = Verdict.STEPPED
    else:
        verdict = Verdict.GROWS if whole.low > LIMIT else Verdict.UNDECIDED
    return Trend(level, whole, verdict)


def judge_cost(events: Sequence[float], sizes: Sequence[float]) -> Cost:
    """Return whether an event adds as many bytes late in a run as it did early.

    It is flat if the upper end of the late interval is at most `EVENT_LIMIT` above the early slope. It grows if the
    lower end of the late interval is more than that above the upper end of the early one.

    Args:
        events: Events so far at each point.
        sizes: Bytes of the store at each point.
    """
    half = len(sizes) // 2
    early = _slope(events[:half], sizes[:half])
    late = _slope(events[half:], sizes[half:])
    verdict = Verdict.UNDECIDED
    if early is not None and late is not None:
        if late.high <= (1 + EVENT_LIMIT) * early.value:
            verdict = Verdict.FLAT
        elif late.low > (1 + EVENT_LIMIT) * early.high:
            verdict = Verdict.GROWS
    return Cost(early, late, verdict)


def _slope(x: Sequence[float], y: Sequence[float], unit: float = 1.0) -> Slope | None:
    """Return the slope of y, in units of `unit`; None with too few points."""
    if len(x) < FEWEST or len(set(x)) < 2:
        return None
    found = theilslopes(np.asarray(y, float) / (unit or 1.0), x, 0.95)
    return Slope(float(found.slope), float(found.low_slope), float(found.high_slope))
