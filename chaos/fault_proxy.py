"""An HTTP proxy that damages chosen calls between our processes and MLflow or Label Studio.

Our processes use it because of the environment variable ``http_proxy``, which requests and httpx obey: nothing of the
product knows of it. Each call is one connection, so that damage to one call does not touch another.
"""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"
_PATIENCE_S: Final = 120.0  # for the server behind: longer than the patience of any client of ours
# Headers about one connection, which a proxy does not pass on; the length is set anew.
_OF_CONNECTION: Final = frozenset(
    {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}
)


class Damage(StrEnum):
    """What may happen to a call."""

    CUT_REQUEST = "cut request"  # the server never gets it
    CUT_ANSWER = "cut answer"  # the server did it, but its answer is lost
    LATE_ANSWER = "late answer"  # the server did it, and answers when the client has given up
    LATE_REQUEST = "late request"  # the server gets it when the client has given up
    DOUBLE = "double"  # the server gets it twice; the second answer is passed on


LATE: Final = (Damage.LATE_ANSWER, Damage.LATE_REQUEST)


@dataclass(frozen=True)
class Call:
    """One call that reached the proxy.

    Attributes:
        number: How many calls came before it.
        method: HTTP method.
        url: Its address, with the query.
    """

    number: int
    method: str
    url: str

    def __str__(self) -> str:
        return f"{self.method} {urlsplit(self.url).path}"


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


Choose = Callable[[Call], Damage | None]
"""Decides what happens to a call; None lets it pass."""


class FaultProxy:
    """A running proxy.

    Attributes:
        choose: Decides about each call; may be replaced at any time.
        late_s: Seconds by which late requests and answers are delayed.
        calls: All calls so far, each with what happened to it.
    """

    def __init__(self, choose: Choose, late_s: float) -> None:
        self.choose = choose
        self.late_s = late_s
        self.calls: list[tuple[Call, Damage | None]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), _handler_of(self))
        self._late: list[threading.Event] = []

    @property
    def url(self) -> str:
        """The address for ``http_proxy``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def note(self, method: str, url: str) -> Damage | None:
        """Note a call, and return what is to happen to it."""
        with self._lock:
            call = Call(len(self.calls), method, url)
            damage = self.choose(call)
            self.calls.append((call, damage))
        return damage

    @contextmanager
    def delaying(self) -> Iterator[None]:
        """Mark a call as on its way during the block, for `wait_for_late`."""
        done = threading.Event()
        with self._lock:
            self._late.append(done)
        try:
            yield
        finally:
            done.set()

    def wait_for_late(self) -> None:
        """Wait until all late requests have reached their server."""
        with self._lock:
            waiting = list(self._late)
        for done in waiting:
            done.wait()

    def serve(self) -> None:
        """Serve until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Stop serving, and close the port."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fault_proxy(choose: Choose, late_s: float = 2.0) -> Iterator[FaultProxy]:
    """Run a proxy during the block."""
    proxy = FaultProxy(choose, late_s)
    thread = threading.Thread(target=proxy.serve, name="fault-proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()


def _handler_of(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    """Return the class that handles the connections of a proxy."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if self.raw_requestline and self.parse_request():
                with suppress(OSError):  # the client has given up
                    self._serve_call()
            self.close_connection = True

        def _serve_call(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                self.send_error(http.HTTPStatus.NOT_IMPLEMENTED, "the fault proxy takes no chunked requests")
                return
            damage = proxy.note(self.command, self.path)
            answer = self._damaged(body, damage)
            if answer is not None:
                self._reply(answer)

        def _damaged(self, body: bytes, damage: Damage | None) -> _Answer | None:
            """Do to a call what was decided; return the answer for the client, None to cut the connection."""
            if damage is Damage.CUT_REQUEST:
                return None
            if damage is Damage.LATE_REQUEST:
                with proxy.delaying():
                    time.sleep(proxy.late_s)
                    return self._forward(body)
            answer = self._forward(body)
            if damage is Damage.DOUBLE:
                answer = self._forward(body)
            if damage is Damage.LATE_ANSWER:
                time.sleep(proxy.late_s)
            return None if damage is Damage.CUT_ANSWER else answer

        def _forward(self, body: bytes) -> _Answer | None:
            """Send the call on; None if the server cannot be reached, which the client must see as a cut."""
            target = urlsplit(self.path)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
            connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=_PATIENCE_S)
            try:
                path = target.path + (f"?{target.query}" if target.query else "")
                connection.request(self.command, path or "/", body or None, headers)
                found = connection.getresponse()
                return _Answer(found.status, found.getheaders(), found.read())
            except (OSError, http.client.HTTPException):
                return None
            finally:
                connection.close()

        def _reply(self, answer: _Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _OF_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    return Handler
