"""The HTTP server: waitress, set up so that slow, silent and half-open connections stop nobody.

waitress reads requests and writes answers in one thread that never blocks, and hands only complete requests to its
worker threads. Of the servers compared in docs/benchmarks.md it alone keeps its threads free of slow senders *and* slow
readers. Its defaults are for a server behind a proxy: 100 connections, idle for two minutes each. Here there are
thousands, idle for seconds, and a request that dribbles in byte by byte has a deadline. A client that does not take its
answer is cut off, and one request at a time is read from a connection: else a thread would wait for the client to read
the answers before it.
"""

import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from waitress.adjustments import Adjustments
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask
from werkzeug.wsgi import _RangeWrapper

from al_server.arriving import ArrivingRequest, Rooms
from al_server.body_limits import BodyLimits
from al_server.connection_loop import ConnectionLoop
from al_server.leaving import LeavingAnswer

THREADS: Final = 8
CONNECTIONS: Final = 4000
"""Most open connections; more wait to be accepted until others end."""
IDLE_S: Final = 20
"""Time without a byte in either direction after which a connection is closed; in each such time a client must take some
of an answer that waits for it (`al_server.leaving`)."""
REQUEST_S: Final = 60
"""Time in which a request must have arrived whole."""
RECEIVE_BYTES: Final = 128 * 2**10
"""Most bytes received at once; waitress's 8 KiB make 33 turns of a drawing."""
HEADER_BYTES: Final = 32 * 2**10
"""Most bytes of the headers of a request; waitress's 256 KiB would be 1 GiB on all connections."""
CLEANUP_S: Final = 5
"""How often connections are looked through for these two."""
STOP_S: Final = 5.0
"""Time that running requests get to end when the server is told to stop."""
STREAM: Final = "glacier_al.stream"
"""Entry of the WSGI environment. A view sets it to a function to keep the connection open after its response, as a
stream: the function gets another one, which sends bytes, or ends the stream if it gets None, and returns whether the
client is still there."""
_MOST_WAITING_BYTES: Final = 64 * 1024  # of a stream whose client does not read
_TURN_S: Final = 1.0  # most time without a turn
_FILES_BESIDE: Final = 200  # open files that are no connections: database, logs, temporary files
_serving = threading.local()  # `channel`: whose request this thread is answering


class StreamTask(WSGITask):  # type: ignore[misc]
    """Answers a request; the connection of one that asked for a stream stays open and takes no thread."""

    def finish(self) -> None:
        """End the response, or hand its connection over."""
        begin = self.environ.get(STREAM) if self.environ else None
        if begin is None or not self.chunked_response:
            super().finish()
            return
        self.close_on_finish = False
        begin(self.channel.send_later)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection whose requests have a deadline, whose bodies need room, and whose answers must be taken."""

    task_class = StreamTask

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._messages: deque[bytes | None] = deque()
        self._leaving = LeavingAnswer(self.socket)

    def parser_class(self, adjustments: Adjustments) -> ArrivingRequest:
        """Return a request that begins to arrive."""
        return ArrivingRequest(adjustments, self.server.rooms)

    def readable(self) -> bool:
        """Return whether more may be received."""
        return not self.waits and bool(super().readable())

    @property
    def waits(self) -> bool:
        """Whether there is no room yet for the body of its request."""
        return self.request is not None and self.request.waits

    def may_go_on(self) -> bool:
        """Let its body come if there is room now; return whether it waits no longer, or was closed."""
        if self.waits:
            self.request.enter()
        return not (self.waits and self.connected)

    def received(self, data: bytes) -> bool:
        """Take what has arrived; let a body for which there is no room wait for its turn."""
        waited = self.waits
        is_taken = bool(super().received(data))
        if self.waits and not waited:
            self.server.waiting.append(self)
        return is_taken

    def service(self) -> None:
        """Answer a request, in a thread of its own; the last one of the connection if others were sent with it."""
        _serving.channel = self
        try:
            self._drop_pipelined()
            super().service()
        except Exception:  # not even an error could be answered: the disk is full, for instance
            self._close_requests()
            self.will_close = True
            self.server.pull_trigger()
            raise
        finally:
            _serving.channel = None

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the client takes now, and note how much that is; return it."""
        sent: int = super().send(data, do_close=do_close)
        self._leaving.note(sent, self.total_outbufs_len - sent)
        return sent

    def is_to_end(self, now: float) -> bool:
        """Return whether it is idle at a time of `time.time`, or its request or answer is late or too slow."""
        request = self.request
        return (
            self.will_close
            or (request is not None and (request.started < time.monotonic() - REQUEST_S or request.is_too_slow()))
            or self._leaving.is_too_slow(IDLE_S)
            or not (self.is_busy or self.last_activity > now - IDLE_S)
        )

    def _drop_pipelined(self) -> None:
        if self._close_requests(after=1):
            self.requests[0].headers["CONNECTION"] = "close"  # the answer says so: the others have to be sent again

    def _close_requests(self, after: int = 0) -> int:
        """Drop the requests after the first few, which leave their room to others; return how many."""
        with self.requests_lock:
            dropped = self.requests[after:]
            del self.requests[after:]
        for request in dropped:
            request.close()
        return len(dropped)

    def add_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002 - waitress's name
        """Begin to be among the open connections."""
        super().add_channel(map)
        self.server.loop.look_at(self)

    def del_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002 - waitress's name
        """Be no longer among the open connections."""
        self.server.loop.forget(self._fileno)
        super().del_channel(map)

    def handle_close(self) -> None:
        """Close the connection; a body that has not arrived whole leaves its room to others."""
        super().handle_close()
        if self.request is not None:
            self.request.close()

    def send_later(self, message: bytes | None) -> bool:
        """Send a part of a stream, or end it; may be called by any thread, and waits for nothing."""
        if not self.connected or self.total_outbufs_len > _MOST_WAITING_BYTES:
            message = None
        self._messages.append(message)
        self.server.loop.look_at(self)
        try:
            self.server.pull_trigger()
        except OSError:  # the server has stopped
            return False
        return message is not None

    def writable(self) -> bool:
        """Return whether there is something to send; asked by the server's thread, which alone sends."""
        while self._messages:
            message = self._messages.popleft()
            if self.connected:
                self.write_soon(b"%X\r\n%s\r\n" % (len(message or b""), message or b""))
                self.close_when_flushed = message is None
        return bool(super().writable())

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or its answer sent."""
        return bool(self.requests or self.total_outbufs_len)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """waitress's server, which closes connections whose request does not arrive in time, and stops without cutting."""

    channel_class = Channel
    rooms: Rooms
    _is_told_to_stop = False

    def __init__(self, *arguments: Any, shares_port: bool, **options: Any) -> None:
        self._shares_port = shares_port
        self.waiting: deque[Channel] = deque()  # for room, the longest first
        self._waking = threading.Lock()
        self._is_closed = False
        super().__init__(*arguments, **options)
        self.loop = ConnectionLoop(self._map)

    def pull_trigger(self) -> None:
        """Wake the server's thread; in a thread that answers a request, for the connection of that request."""
        if getattr(_serving, "channel", None) is not None:
            self.loop.look_at(_serving.channel)
        # A thread may answer for longer than the server waits for it. The number of the pipe that it would write to may
        # then be that of a database, or of a connection to Redis.
        with self._waking:
            if not self._is_closed:
                super().pull_trigger()

    def close(self) -> None:
        """Close the socket and the pipe that wakes the server's thread."""
        with self._waking:
            self._is_closed = True
            super().close()

    def set_reuse_addr(self) -> None:
        """Let the address be used again at once, and by other servers of ours if they share it; before it is bound."""
        super().set_reuse_addr()
        if self._shares_port:  # the kernel gives each connection to one of them
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def maintenance(self, now: float) -> None:
        """Close connections that are to end; called every `CLEANUP_S`.

        waitress would wait until the client takes something, which some never do. A thread that waits for the client to
        do so ends.
        """
        for channel in list(self.active_channels.values()):
            if channel.is_to_end(now):
                channel.handle_close()

    def stop(self, *_: object) -> None:
        """Make `run` return; may be called by a signal handler."""
        self._is_told_to_stop = True
        self.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called; then finish the requests that run."""
        while not self._is_told_to_stop:
            self._turn()
        self.accepting = False
        deadline = time.monotonic() + STOP_S
        while any(channel.is_busy for channel in self.active_channels.values()) and time.monotonic() < deadline:
            self._turn()
        self.task_dispatcher.shutdown(timeout=max(0.0, deadline - time.monotonic()))
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        self.close()
        self.loop.close()

    def _turn(self) -> None:
        """Let bodies come for which there is room now, in the order in which they came; then handle what is ready."""
        while self.waiting and self.waiting[0].may_go_on():
            self.loop.look_at(self.waiting.popleft())
        self.loop.turn(_TURN_S)


def _send_parts_from_files(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the application, with answers that are parts of a file (`Range`) sent as waitress sends whole files.

    No thread waits for the client to read them, and they take up no memory.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = application(environ, start_response)
        if isinstance(body, _RangeWrapper) and isinstance(body.iterable, ReadOnlyFileBasedBuffer):
            body.iterable.seek(body.start_byte)  # waitress ends where Content-Length says
            return body.iterable  # type: ignore[no-any-return]
        return body

    return answer


def make_server(
    application: Callable[..., Any], host: str, port: int, limits: BodyLimits, *, shares_port: bool = False
) -> Server:
    """Return the server, listening; its method ``run`` serves.

    Args:
        application: The WSGI application.
        host: Address to listen on.
        port: Port; 0 for any, which is then in the server's ``effective_port``.
        limits: How large a body may be; a larger one is refused before it arrives.
        shares_port: Whether other processes of this user may listen at the same port, each for a part of the
            connections.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of each request that waits for a thread
    adjustments = Adjustments(
        host=host,
        port=port,
        threads=THREADS,
        connection_limit=min(CONNECTIONS, _allow_files(CONNECTIONS + _FILES_BESIDE) - _FILES_BESIDE),
        cleanup_interval=CLEANUP_S,
        max_request_body_size=sys.maxsize,  # `al_server.arriving` refuses earlier, and by path
        max_request_header_size=HEADER_BYTES,
        recv_bytes=RECEIVE_BYTES,
        clear_untrusted_proxy_headers=False,  # `al_server.safety` takes as many of them as there are proxies
        ident=None,
    )
    answers = _send_parts_from_files(application)
    server = Server(answers, map={}, adj=adjustments, sockinfo=adjustments.listen[0], shares_port=shares_port)
    server.rooms = Rooms(limits)
    return server


def serve(
    application: Callable[..., Any], host: str, port: int, limits: BodyLimits, *, shares_port: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT. The arguments are those of `make_server`."""
    server = make_server(application, host, port, limits, shares_port=shares_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    server.run()


def _allow_files(wanted: int) -> int:
    """Raise this process's limit of open files towards `wanted`; return the limit, or `wanted` if it is higher."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
