"""The loop that waits for sockets, with real ones."""

import socket
from collections.abc import Callable

from waitress.wasyncore import dispatcher

from al_server.connection_loop import ConnectionLoop


class Listener(dispatcher):  # type: ignore[misc]
    """Notes that it may read; does what it is told then."""

    def __init__(self, connection: socket.socket, sockets: dict[int, dispatcher], then: Callable[[], object]) -> None:
        self.then, self.has_read = then, 0
        super().__init__(connection, map=sockets)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.has_read += 1
        self.recv(100)
        self.then()


def test_what_was_ready_is_not_told_to_another_socket_with_the_same_number() -> None:
    sockets: dict[int, dispatcher] = {}
    loop = ConnectionLoop(sockets)
    (near, far), (second, its_client) = socket.socketpair(), socket.socketpair()
    number = second.fileno()
    new: list[Listener] = []
    pairs: list[socket.socket] = []

    def replace() -> None:
        """Close the second socket, which is ready, too, and open one that gets its number."""
        loop.forget(number)
        old.close()
        pairs.extend(socket.socketpair())
        taken = next(each for each in pairs if each.fileno() == number)
        new.append(Listener(taken, sockets, lambda: None))
        loop.look_at(new[0])

    first = Listener(near, sockets, replace)
    old = Listener(second, sockets, lambda: None)
    loop.look_at(first)
    loop.look_at(old)
    far.send(b"x")
    its_client.send(b"x")
    loop.turn(1)
    assert (first.has_read, old.has_read, new[0].has_read) == (1, 0, 0)
    other_end = next(each for each in pairs if each.fileno() != number)
    other_end.send(b"x")
    loop.turn(1)
    assert (first.has_read, new[0].has_read) == (1, 1)
    loop.close()
    for each in (first, new[0], far, its_client, other_end):
        each.close()
