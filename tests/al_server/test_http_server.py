"""The HTTP server with clients that misbehave, on real sockets."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask, Response, send_file

from al_server import http_server
from al_server.body_limits import BodyLimits
from al_server.http_server import THREADS, Channel, Server, make_server

HALF_A_HEADER = b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
LARGE = bytes(8 * 2**20)  # more than the buffers of a socket hold


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer at once, with a large body at /large, of which a thread waits for the end at /blocks; at /slow later."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    if environ["PATH_INFO"] == "/blocks":  # more than the 16 MiB that waitress holds
        start_response("200 OK", [("Content-Length", str(4 * len(LARGE)))])
        return iter([LARGE] * 4)
    body = LARGE if environ["PATH_INFO"] == "/large" else b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(app: Callable[..., Any] = application) -> Iterator[tuple[Server, str]]:
    server = make_server(app, "127.0.0.1", 0, BodyLimits(2**20))
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


def files(path: Path) -> Flask:
    """Return an application that sends a file of three times 8 MiB: of 1, of 2 and of 3."""
    path.write_bytes(b"".join(bytes([value]) * len(LARGE) for value in (1, 2, 3)))
    app = Flask(__name__)
    app.add_url_rule("/file", "file", lambda: send_file(path, conditional=True))
    app.add_url_rule("/healthz", "healthz", lambda: Response("ok"))
    return app


@pytest.mark.parametrize(
    "sent", [b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n" * 3, b"GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n"]
)
def test_who_asks_for_large_files_and_reads_none_takes_no_thread(tmp_path: Path, sent: bytes) -> None:
    with serving(files(tmp_path / "large")) as (server, url), connections(server, THREADS + 1, sent):
        while sum(channel.total_outbufs_len > 0 for channel in list(server.active_channels.values())) < THREADS + 1:
            time.sleep(0.01)
        assert httpx.get(f"{url}/healthz", timeout=10).text == "ok"


def test_a_part_of_a_file_is_sent_as_asked_for(tmp_path: Path) -> None:
    first = len(LARGE) - 2
    with serving(files(tmp_path / "large")) as (_, url):
        part = httpx.get(f"{url}/file", headers={"Range": f"bytes={first}-{first + 3}"})
        assert (part.status_code, part.content) == (206, bytes([1, 1, 2, 2]))
        rest = httpx.get(f"{url}/file", headers={"Range": f"bytes={2 * len(LARGE)}-"})
        assert (rest.status_code, rest.content) == (206, bytes([3]) * len(LARGE))


def test_of_requests_sent_at_once_the_first_is_answered_and_the_connection_closed() -> None:
    with serving() as (server, _), connections(server, 1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2) as (connection,):
        with connection.makefile("rb") as answers:
            head, _, body = answers.read().partition(b"\r\n\r\n")
        assert body == b"ok"  # and no second answer
        assert b"Connection: close" in head.split(b"\r\n")


def test_a_thread_that_waits_for_a_client_that_reads_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_S", 0.5)
    monkeypatch.setattr(http_server, "CLEANUP_S", 0.1)
    sent = b"GET /blocks HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as (server, url), connections(server, THREADS + 1, sent):
        assert httpx.get(url, timeout=20).text == "ok"


def is_open(server: Server, connection: socket.socket) -> bool:
    return connection.getsockname()[1] in {channel.addr[1] for channel in list(server.active_channels.values())}


def test_who_stops_reading_is_closed_and_who_reads_slowly_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "IDLE_S", 0.5)
    monkeypatch.setattr(http_server, "CLEANUP_S", 0.1)
    sent = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving() as (server, _), connections(server, 2, sent) as (slow, silent):
        while not (is_open(server, slow) and is_open(server, silent)):
            time.sleep(0.01)
        received = 0
        while is_open(server, silent):  # about 1 MB/s
            received += len(slow.recv(64 * 1024))
            assert 0 < received < len(LARGE)
            time.sleep(0.06)
        assert is_open(server, slow)
        with slow.makefile("rb") as rest:
            received += len(rest.read())
        assert received > len(LARGE)  # all of it, and the headers


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


def test_a_server_that_has_ended_writes_to_no_file_that_was_opened_since(tmp_path: Path) -> None:
    """Threads may still be answering then, and wake their server when they are done. A file gets the lowest number."""
    with serving() as (server, _):
        pass
    with ExitStack() as stack:
        opened = [stack.enter_context((tmp_path / str(number)).open("wb")) for number in range(50)]
        server.pull_trigger()
        assert {os.fstat(file.fileno()).st_size for file in opened} == {0}


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
