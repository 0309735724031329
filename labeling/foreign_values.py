"""Values that others sent, as error messages show them: bounded, whatever their size and depth."""

import reprlib
from typing import Final

MOST_CHARACTERS: Final = 200
"""Most characters of a value that a message shows."""
_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80
_SHORT.maxlevel = 3


def shown(value: object) -> str:
    """Return the ``repr`` of a value of parsed JSON, with dots in place of what is too long or too deep."""
    text = _SHORT.repr(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
