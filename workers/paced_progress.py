"""Progress of work whose steps take milliseconds: each report of a job writes to the database."""

import time
from collections.abc import Callable
from typing import Final

_TOLD_EVERY_S: Final = 1.0


def paced(tell: Callable[[int, int], object]) -> Callable[[int, int], None]:
    """Return a function that passes on how much is done and of how much: every `_TOLD_EVERY_S`, and at the end."""
    told = -_TOLD_EVERY_S

    def tell_seldom(done: int, total: int) -> None:
        nonlocal told
        at = time.monotonic()
        if done == total or at - told >= _TOLD_EVERY_S:
            tell(done, total)
            told = at

    return tell_seldom
