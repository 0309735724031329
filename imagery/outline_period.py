"""Dates of the images that outlines were drawn from, as attributes tell them, and periods of such dates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import OutlineError

DATE_FIELDS: Final = ("src_date", "bgndate", "acq_date", "img_date", "date", "year", "img_year", "acq_year")
"""Fields of dates, in lower case, the one that counts most first: RGI 7, GLIMS and ICIMOD; RGI 6; GLIMS in its older
downloads; inventories of several years."""
DATE_PATTERN: Final = r"^(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$"
"""A date as people state it: "2000", "2000-10" or "2000-10-30"."""
# RGI 6 writes an unknown month or day as 99.
_DATE: Final = re.compile(r"((?:19|20)\d\d)(?:-?(?:(0[1-9]|1[0-2])|99)(?:-?(?:(0[1-9]|[12]\d|3[01])|99))?)?(?!\d)")


def read_date(text: str) -> str | None:
    """Return a date as ISO 8601, as exact as it is: of "20001030", "2000-10-30T00:00:00", "20000999" and "2000".

    None if the text does not begin with a date from 1900 to 2099.
    """
    match = _DATE.match(text)
    if match is None:
        return None
    year, month, day = match.groups()
    return year if month is None else "-".join(part for part in (year, month, day) if part)


@dataclass(frozen=True)
class Period:
    """A period of dates, both ends included. Dates are compared as exactly as both are: "2000" lies in October 2000.

    Attributes:
        first: Its first day, month or year, as `DATE_PATTERN`; None: no limit.
        last: Its last one; None: no limit.
    """

    first: str | None
    last: str | None

    def __post_init__(self) -> None:
        for date in (self.first, self.last):
            if date is not None and re.fullmatch(DATE_PATTERN, date) is None:
                raise OutlineError(f"found the date {date!r} of a period; expected 2000-10-30, 2000-10 or 2000")
        if self.first and self.last and not _reaches(self.last, self.first):
            raise OutlineError(f"found a period from {self.first} to {self.last}; expected it to begin before it ends")

    def __str__(self) -> str:
        """Return the period for people: "2000 to 2005", "from 2000 on", "until 2005"."""
        if self.first and self.last:
            return f"{self.first} to {self.last}"
        return f"from {self.first} on" if self.first else f"until {self.last}"

    def holds(self, date: str) -> bool:
        """Return whether a date lies in the period."""
        return (self.first is None or _reaches(date, self.first)) and (self.last is None or _reaches(self.last, date))


@dataclass(frozen=True)
class OtherDates:
    """Features that are not used because of a period.

    Attributes:
        dates: Their dates, the earliest first, of those that have one.
        undated: Number of those without a date.
    """

    dates: tuple[str, ...]
    undated: int

    def describe(self, period: Period) -> str:
        """Say in numbers what is left out."""
        parts = []
        if self.dates:
            spread = self.dates[0] if self.dates[0] == self.dates[-1] else f"{self.dates[0]} to {self.dates[-1]}"
            parts.append(f"{len(self.dates)} of other dates ({spread})")
        if self.undated:
            parts.append(f"{self.undated} without a date")
        return f"of the period {period}; left out: {' and '.join(parts) or 'none'}"


def of_period(texts: Sequence[str], period: Period) -> NDArray[np.bool_]:
    """Return which attribute values are dates of a period, (n,); what is no date is of none."""
    dates = [read_date(text) for text in texts]
    return np.array([date is not None and period.holds(date) for date in dates], dtype=np.bool_)


def other_dates(texts: Sequence[str]) -> OtherDates:
    """Describe the features that are left out, by the attribute values that tell their dates."""
    dates = [read_date(text) for text in texts]
    told = tuple(sorted(date for date in dates if date is not None))
    return OtherDates(told, len(dates) - len(told))


def _reaches(date: str, limit: str) -> bool:
    """Return whether a date is not before another, compared as exactly as both are."""
    length = min(len(date), len(limit))
    return date[:length] >= limit[:length]
