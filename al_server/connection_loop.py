"""Which connections are ready: a loop whose turns cost what has happened, not what is open.

waitress asks each of its connections in each turn what it wants, and hands all of them to the kernel anew. With a
thousand that wait for an answer that is 3 ms a turn, so that a server that falls behind gets slower and slower. Here a
connection is asked only after something has happened to it, and the kernel keeps the list (epoll or the like).
"""

import select
import selectors
from collections import deque
from typing import Final

from waitress.wasyncore import dispatcher, readwrite

_FLAGS: Final = {selectors.EVENT_READ: select.POLLIN, selectors.EVENT_WRITE: select.POLLOUT}


class ConnectionLoop:
    """Waits for sockets; used by the one thread that reads and writes, but for `look_at`.

    Args:
        sockets: The open ones by their file number, as waitress keeps them. Those that are there at the start are asked
            in every turn.
    """

    def __init__(self, sockets: dict[int, dispatcher]) -> None:
        self._sockets = sockets
        self._selector = selectors.DefaultSelector()
        self._always = tuple(sockets.values())
        self._changed: deque[dispatcher] = deque()

    def look_at(self, connection: dispatcher) -> None:
        """Ask a connection in the next turn what it wants; may be called by any thread, which then wakes this one."""
        self._changed.append(connection)

    def forget(self, number: int | None) -> None:
        """Do not wait for a socket any more; called before it is closed, and perhaps again then (None)."""
        if number is not None and number in self._selector.get_map():
            self._selector.unregister(number)

    def turn(self, timeout_s: float) -> None:
        """Handle the sockets that are ready; wait for one, no longer than `timeout_s`."""
        self._changed.extend(self._always)  # the listening one closes idle connections when asked, by the clock
        for _ in range(len(self._changed)):
            self._ask(self._changed.popleft())
        for key, events in self._selector.select(timeout_s):
            connection = key.data
            if self._sockets.get(key.fd) is connection:  # not closed in this turn, and its number given to another
                readwrite(connection, sum(flag for event, flag in _FLAGS.items() if events & event))
                self._changed.append(connection)

    def close(self) -> None:
        """Forget all sockets."""
        self._selector.close()

    def _ask(self, connection: dispatcher) -> None:
        wanted = selectors.EVENT_READ if connection.readable() else 0
        if connection.writable() and not connection.accepting:
            wanted |= selectors.EVENT_WRITE
        number = connection._fileno
        if number is None:  # closed, by itself or while it was asked
            return
        known = self._selector.get_map().get(number)
        if not wanted:
            self.forget(number)
        elif known is None:
            self._selector.register(number, wanted, connection)
        elif known.events != wanted:
            self._selector.modify(number, wanted, connection)
