"""Requests while they arrive: their deadline, what becomes of a body that is too large, and the room for all bodies.

A body lies in memory, or on the disk if it is large, until its request is answered. Without a bound on the sum, a
stranger could fill both with bodies that are allowed one by one.
"""

import json
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from al_server.body_limits import BodyLimits

SMALL: Final = 64 * 2**10
"""Largest body, in bytes, that needs no room: 4,000 connections can bring 256 MiB of these."""
ROOM_OF_STRANGERS: Final = 64 * 2**20
"""Bytes of larger bodies, of those who have shown nothing yet, that may arrive or wait at once."""
ROOM_OF_MEMBERS: Final = 64 * 2**20
"""The same for those who have logged in, or whose token was good lately (`al_server.members`)."""
ROOM_OF_KNOWN: Final = 256 * 2**20
"""The same for those who have shown the secret, who are Label Studio."""
LEAST_BYTES_PER_S: Final = 16 * 2**10
"""Least rate, on average, of a body that takes up room: who dribbles must not keep others out."""
GRACE_S: Final = 5.0
"""Time after which that rate is expected."""


class Room:
    """Bytes that may be taken up at once; used by several threads.

    Attributes:
        left: How many are left.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self.left = size

    def take(self, size: int) -> bool:
        """Take so many bytes if they are left; return whether they were."""
        with self._lock:
            if size > self.left:
                return False
            self.left -= size
            return True

    def give_back(self, size: int) -> None:
        """Leave so many bytes to others."""
        with self._lock:
            self.left += size


class Rooms:
    """The room for the bodies of a server, and the limits of each.

    Attributes:
        limits: The limits.
        strangers: The room of those who have shown nothing; at least one body fits in, as in the others.
        members: The room of those who have logged in, or whose token was good lately.
        known: The room of those who have shown the secret.
    """

    def __init__(
        self,
        limits: BodyLimits,
        strangers: int = ROOM_OF_STRANGERS,
        members: int = ROOM_OF_MEMBERS,
        known: int = ROOM_OF_KNOWN,
    ) -> None:
        self.limits = limits
        self.strangers = Room(max(strangers, limits.ordinary, limits.upload))
        self.members = Room(max(members, limits.ordinary, limits.upload))
        self.known = Room(max(known, limits.large))


class RefusalError(Error):  # type: ignore[misc]
    """An error response in the form of `al_server.problems`, after which the connection is closed."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code, self.reason, self._headers = status.value, status.phrase, headers or {}

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return the status line, the headers and the body."""
        members = {"type": "about:blank", "title": self.reason, "status": self.code, "detail": self.body}
        headers = [("Content-Type", "application/problem+json"), *self._headers.items()]
        return f"{self.code} {self.reason}", headers, json.dumps(members).encode()


class ArrivingRequest(HTTPRequestParser):  # type: ignore[misc]
    """A request that arrives, since when, and whether there is room for its body.

    Attributes:
        started: When its first byte came, by the monotonic clock.
        waits: Whether its body must not be received yet, because there is no room.
    """

    def __init__(self, adjustments: Adjustments, rooms: Rooms) -> None:
        super().__init__(adjustments)
        self.started = time.monotonic()
        self.waits = False
        self._rooms = rooms
        self._room: Room | None = None
        self._entered = self.started
        self._most = self._needed = 0

    def received(self, data: bytes) -> int:
        """Take bytes of the request; return how many. Refuse the body as soon as the headers are known."""
        in_headers = not self.headers_finished
        consumed: int = super().received(data)
        if in_headers and self.headers_finished and self.body_rcv is not None and self.error is None:
            self._admit()
        elif self.chunked and self.error is None and self.body_bytes_received > self._most:
            self._refuse_size()
        return consumed

    def enter(self) -> None:
        """Begin to receive the body if there is room for it now."""
        if self._room is not None and self._room.take(self._needed):
            self.waits = False
            self._entered = time.monotonic()

    def is_too_slow(self) -> bool:
        """Return whether its body takes up room and arrives more slowly than `LEAST_BYTES_PER_S`."""
        if self._room is None or self.waits or self.completed:
            return False
        elapsed = time.monotonic() - self._entered
        return elapsed > GRACE_S and self.body_bytes_received < LEAST_BYTES_PER_S * elapsed

    def close(self) -> None:
        """Drop the body, and leave its room to others."""
        super().close()
        if self._room is not None and not self.waits:
            self._room.give_back(self._needed)
        self._room = None

    def _admit(self) -> None:
        limits, length = self._rooms.limits, self.content_length
        exception = limits.exception(self.path)
        is_known = exception is not None and exception.is_shown(self._header(exception.header))
        self._most = limits.large if is_known else limits.to_anybody(self.path)
        if exception is not None and not is_known and length > self._most:
            detail = f"the header {exception.header} does not hold what this server gave Label Studio"
            self._refuse(RefusalError(HTTPStatus.UNAUTHORIZED, detail))
        elif length > self._most:
            self._refuse_size()
        elif self.chunked or length > SMALL:
            self._needed = self._most if self.chunked else length
            room = self._rooms.known if is_known else self._room_of_others()
            if room.take(self._needed):
                self._room, self._entered = room, time.monotonic()
            elif is_known:  # Label Studio sends nothing twice
                self._room, self.waits = room, True
            else:
                detail = "too many large bodies arrive at once; send it again later"
                self._refuse(RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"}))

    def _room_of_others(self) -> Room:
        is_member = self._rooms.limits.are_members(self._header("Authorization"), self._header("Cookie"))
        return self._rooms.members if is_member else self._rooms.strangers

    def _header(self, name: str) -> str:
        found: str = self.headers.get(name.upper().replace("-", "_"), "")
        return found

    def _refuse_size(self) -> None:
        found = "more" if self.chunked else f"{self.content_length} bytes"
        detail = f"found a body of {found}, expected at most {self._most} bytes"
        self._refuse(RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail))

    def _refuse(self, error: RefusalError) -> None:
        self.error, self.completed = error, True
        self.expect_continue = False  # waitress would ask for the body
