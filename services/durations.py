"""Durations as people say them."""

from typing import Final

_UNITS: Final = ((90.0, 10, "second"), (90.0 * 60, 60, "minute"), (36.0 * 3600, 3600, "hour"))
"""Below how many seconds a unit is used, in seconds, and the step that is rounded to, in seconds."""
_FEW_S: Final = 10.0
_DAY_S: Final = 86_400


def in_words(seconds: float) -> str:
    """Return a duration as people say it, e.g. "about 3 minutes"; rounded, since it is an estimate."""
    if seconds < _FEW_S:
        return "a few seconds"
    for below, step, unit in _UNITS:
        if seconds < below:
            count = max(1, round(seconds / step)) * (step if unit == "second" else 1)
            return f"about {_counted(count, unit)}"
    return f"about {_counted(round(seconds / _DAY_S), 'day')}"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" + ("" if count == 1 else "s")
