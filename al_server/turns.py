"""How many requests of a slow kind may run at once, so that threads stay free for all others.

These requests read files that may lie behind a network. They take fewer threads than there are
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
    def required(self, what: str) -> Iterator[None]:
        """Take a turn for the block.

        Args:
            what: What these requests are, in the plural, for the error.

        Raises:
            ServiceUnavailable: None is free; the response says when to try again.
        """
        if not self._free.acquire(blocking=False):
            raise ServiceUnavailable(
                f"{self.most} {what} are being answered, and no more are at once; try again in {_RETRY_AFTER_S} s",
                retry_after=_RETRY_AFTER_S,
            )
        try:
            yield
        finally:
            self._free.release()


DESCRIPTIONS: Final = Turns(2)
"""Scenes whose files are read before they are registered."""
FAR_READS: Final = Turns(2)
"""Reads from other machines: of scenes at an address, and of a raster store that is no folder."""
UPLOADS: Final = Turns(1)
"""Vector files that are sent: of labels, submissions for GLIMS that are checked, and inventories."""
ACCOUNTS: Final = Turns(1)
"""Accounts that are made in Label Studio."""
ALL_TURNS: Final = (DESCRIPTIONS, FAR_READS, UPLOADS, ACCOUNTS)
