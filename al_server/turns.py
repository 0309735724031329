"""How many requests of a slow kind may run at once, so that threads stay free for all others.

These requests read files that may lie behind a network, or ask MLflow. Together they take fewer threads than there are
(`al_server.http_server.THREADS`). Nobody waits for a turn, since that would take a thread, too.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from werkzeug.exceptions import ServiceUnavailable

_RETRY_AFTER_S: Final = 5


class Turns:
    """The turns of one kind of request."""

    def __init__(self, most: int) -> None:
        """Allow so many requests at once."""
        self.most = most
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Take a turn for the block; yield whether one was free."""
        taken = self._free.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._free.release()

    @contextmanager
    def required(self, what: str) -> Iterator[None]:
        """Take a turn for the block.

        Args:
            what: What these requests are, in the plural, for the error.

        Raises:
            ServiceUnavailable: None is free; the response says when to try again.
        """
        with self.if_free() as taken:
            if not taken:
                raise ServiceUnavailable(
                    f"{self.most} {what} are being answered, and no more are at once; try again in {_RETRY_AFTER_S} s",
                    retry_after=_RETRY_AFTER_S,
                )
            yield


DECISIONS: Final = Turns(1)
"""Promotions and roll-backs, which ask MLflow."""
CARDS: Final = Turns(1)
"""Lineages that may fetch cards from MLflow."""
DESCRIPTIONS: Final = Turns(2)
"""Scenes whose files, or headers at an address, are read before they are registered."""
CLICKS: Final = Turns(3)
"""Clicks of annotators, which read the bands of a patch, perhaps at an address."""
TILES: Final = Turns(1)
"""Tiles of the map of scenes at an address."""
ALL_TURNS: Final = (DECISIONS, CARDS, DESCRIPTIONS, CLICKS, TILES)
