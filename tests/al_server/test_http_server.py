"""The HTTP server with clients that misbehave, on real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from al_server import http_server
from al_server.body_limits import BodyLimits
from al_server.http_server import Channel, Server, make_server

HALF_A_HEADER = b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
LARGE = bytes(8 * 2**20)  # more than the buffers of a socket hold


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer at once, with a large body at /large; at /slow after half a second."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    body = LARGE if environ["PATH_INFO"] == "/large" else b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving() -> Iterator[tuple[Server, str]]:
    server = make_server(application, "127.0.0.1", 0, BodyLimits(2**20))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def connections(server: Server, number: int, sent: bytes) -> Iterator[list[socket.socket]]:
    held = []
    try:
        for _ in range(number):
            held.append(socket.create_connection(("127.0.0.1", int(server.effective_port)), 5))
            held[-1].sendall(sent)
        yield held
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize("sent", [b"", HALF_A_HEADER, HALF_A_BODY, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_connections_that_misbehave_stop_nobody(sent: bytes) -> None:
    number = 20 if b"large" in sent else 200
    with serving() as (server, url), connections(server, number, sent):
        assert httpx.get(url, timeout=10).text == "ok"


def closes(connection: socket.socket, within_s: float) -> bool:
    connection.settimeout(within_s)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:  # closed, with bytes that the server had not read
        return True


def test_connections_to_which_nothing_happens_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Channel] = []
    readable = Channel.readable

    def noted(channel: Channel) -> bool:
        asked.append(channel)
        return readable(channel)

    monkeypatch.setattr(Channel, "readable", noted)
    with serving() as (server, url), httpx.Client() as client, connections(server, 200, HALF_A_HEADER):
        assert client.get(url).text == "ok"
        while sum(channel.request is not None for channel in list(server.active_channels.values())) < 200:
            time.sleep(0.01)
        asked.clear()
        for _ in range(10):
            assert client.get(url).text == "ok"
        assert len(asked) < 100  # some turns for each of ten requests, not 200 connections in each turn


def test_a_connection_without_a_byte_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_S", 0.3)
    monkeypatch.setattr(http_server, "CLEANUP_S", 0.1)
    with serving() as (server, _), connections(server, 1, HALF_A_HEADER) as (connection,):
        assert closes(connection, 10)


def test_a_request_that_dribbles_in_is_closed_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 0.5)
    monkeypatch.setattr(http_server, "CLEANUP_S", 0.1)
    with serving() as (server, _), connections(server, 1, HALF_A_HEADER) as (connection,):
        started, ended = time.monotonic(), False
        while not ended and time.monotonic() - started < 10:
            try:
                connection.sendall(b"a")  # so that it is never idle
            except OSError:
                break
            ended = closes(connection, 0.1)
        assert time.monotonic() - started < 10


def test_a_request_that_runs_is_answered_although_the_server_is_told_to_stop() -> None:
    with serving() as (server, url):
        answers: list[str] = []
        client = threading.Thread(target=lambda: answers.append(httpx.get(f"{url}/slow", timeout=10).text))
        client.start()
        while not any(channel.requests for channel in server.active_channels.values()):
            time.sleep(0.01)
        server.stop()
        client.join()
    assert answers == ["ok"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def named(name: bytes) -> Callable[..., list[bytes]]:
    def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(name)))])
        return [name]

    return answer


def test_servers_that_share_a_port_each_get_a_part_of_the_connections() -> None:
    limits = BodyLimits(2**20)
    first = make_server(named(b"first"), "127.0.0.1", 0, limits, shares_port=True)
    port = int(first.effective_port)
    servers = [first, make_server(named(b"second"), "127.0.0.1", port, limits, shares_port=True)]
    with socket.socket() as other, pytest.raises(OSError, match="in use"):  # who does not share it has no part in it
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
    threads = [threading.Thread(target=server.run) for server in servers]
    for thread in threads:
        thread.start()
    answers = {httpx.get(f"http://127.0.0.1:{port}").content for _ in range(64)}
    for server, thread in zip(servers, threads, strict=True):
        server.stop()
        thread.join(20)
    assert answers == {b"first", b"second"}  # all of 64 to one: once in 2 ** 63
