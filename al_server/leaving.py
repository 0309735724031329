"""Answers while they leave: how fast the client takes what waits for it."""

import array
import fcntl
import socket
import termios
import threading
import time
from typing import Final

LEAST_BYTES_PER_S: Final = 4 * 2**10
"""Least rate at which a client must take an answer that waits for it: half that of a 64 kbit/s satellite telephone."""


class LeavingAnswer:
    """What a client takes of the answers that wait on a connection.

    Taken is what the other end has acknowledged. The kernel takes more, several MB, and for a slow line new bytes only
    after a third of that has left, which may last minutes.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # the thread that answers notes, the server's own asks
        self._sent = 0  # bytes given to the kernel
        self._window: tuple[float, int] | None = None  # since when something waits or was checked, and taken until then

    def note(self, sent: int, left: int) -> None:
        """Note that the kernel took `sent` bytes, and that `left` bytes wait until it takes more."""
        with self._lock:
            self._sent += sent
            if not left:
                self._window = None
            elif self._window is None:
                self._window = time.monotonic(), self._taken()

    def is_too_slow(self, within_s: float) -> bool:
        """Return whether an answer waits, and less than `LEAST_BYTES_PER_S` was taken in the last `within_s` seconds.

        Called again and again: the seconds count from the last call that found enough.
        """
        with self._lock:
            if self._window is None or time.monotonic() - self._window[0] < within_s:
                return False
            (since, before), self._window = self._window, (time.monotonic(), self._taken())
            return self._window[1] - before < LEAST_BYTES_PER_S * (self._window[0] - since)

    def _taken(self) -> int:
        unacknowledged = array.array("i", [0])
        try:
            fcntl.ioctl(self._connection, termios.TIOCOUTQ, unacknowledged)
        except (OSError, ValueError):  # systems other than Linux do not say; or the connection was just closed
            return self._sent
        return self._sent - unacknowledged[0]
