"""Bodies that are refused before they arrive, and the room for all that arrive at once, on real sockets."""

import json
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Never

import pytest
from flask.testing import FlaskClient

from al_server import arriving, http_server
from al_server.app import create_app
from al_server.arriving import SMALL, Rooms
from al_server.body_limits import BodyLimits, LargeBodies, body_limits
from al_server.http_server import Server, make_server
from catalog.context import Catalog
from labeling.interactive import USER
from labeling.webhook import SECRET_HEADER

ORDINARY, LARGE = 2**20, 4 * 2**20
LIMITS = BodyLimits(ORDINARY, LARGE, (LargeBodies("/hook", "X-Secret", "right"),))
RIGHT, WRONG = ("X-Secret: right",), ("X-Secret: wrong",)


def count(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the number of bytes in the body."""
    body = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(application: Callable[..., Any] = count, limits: BodyLimits = LIMITS) -> Iterator[Server]:
    server = make_server(application, "127.0.0.1", 0, limits)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)


class Client:
    def __init__(self, server: Server, path: str, *headers: str, sent: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", int(server.effective_port)), 10)
        head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers])
        self.socket.sendall(f"{head}\r\n\r\n".encode() + sent)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self) -> tuple[int, str]:
        """The status and all that follows the headers; the body as declared, or until the connection is closed."""
        with self.socket.makefile("rb") as file:
            status = int(file.readline().split()[1])
            length = None
            while line := file.readline().strip():
                name, _, value = line.decode().partition(": ")
                length = int(value) if name.lower() == "content-length" else length
            return status, file.read(length).decode()

    def is_closed(self) -> bool:
        return self.socket.recv(1) == b""


def length(size: int) -> str:
    return f"Content-Length: {size}"


@pytest.mark.parametrize(
    ("path", "headers", "status", "detail"),
    [
        ("/", (length(ORDINARY + 1),), 413, f"expected at most {ORDINARY} bytes"),
        ("/hooks", (*RIGHT, length(ORDINARY + 1)), 413, f"expected at most {ORDINARY} bytes"),
        ("/hook", (length(ORDINARY + 1),), 401, "the header X-Secret does not hold"),
        ("/hook", (*WRONG, length(ORDINARY + 1)), 401, "the header X-Secret does not hold"),
        ("/hook/below", (*WRONG, length(ORDINARY + 1)), 401, "the header X-Secret does not hold"),
        ("/hook", (*RIGHT, length(LARGE + 1)), 413, f"expected at most {LARGE} bytes"),
        ("/", (length(ORDINARY + 1), "Expect: 100-continue"), 413, f"expected at most {ORDINARY} bytes"),
    ],
)
def test_a_body_that_would_be_refused_is_not_received(
    path: str, headers: tuple[str, ...], status: int, detail: str
) -> None:
    with serving() as server, Client(server, path, *headers) as client:
        found, body = client.answer()  # although not one byte of the body was sent
        assert (found, json.loads(body)["status"]) == (status, status)
        assert detail in json.loads(body)["detail"]
        assert client.is_closed()


@pytest.mark.parametrize(
    ("path", "headers", "size"),
    [("/", (), ORDINARY), ("/hook", WRONG, ORDINARY), ("/hook", RIGHT, LARGE), ("/hook/below", RIGHT, LARGE)],
)
def test_a_body_of_the_allowed_size_arrives(path: str, headers: tuple[str, ...], size: int) -> None:
    with serving() as server, Client(server, path, *headers, length(size), sent=bytes(size)) as client:
        assert client.answer() == (200, str(size))


def test_a_body_without_a_length_is_cut_off_where_it_is_too_large() -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with serving() as server, Client(server, "/", "Transfer-Encoding: chunked", sent=chunk) as client:
        for _ in range(ORDINARY // 0x10000 - 1):
            client.socket.sendall(chunk)
        client.socket.sendall(b"1\r\n0")
        assert client.answer()[0] == 413
    with serving() as server, Client(server, "/", "Transfer-Encoding: chunked", sent=chunk + b"0\r\n\r\n") as client:
        assert client.answer() == (200, str(0x10000))


def test_strangers_share_a_bounded_room_and_small_bodies_need_none() -> None:
    half = length(ORDINARY)
    with serving() as server:
        server.rooms = Rooms(LIMITS, strangers=2 * ORDINARY)
        with Client(server, "/", half, sent=b"a"), Client(server, "/", half, sent=b"a") as second:
            wait_until(lambda: server.rooms.strangers.left == 0)
            with Client(server, "/hook", *WRONG, half) as third:
                assert third.answer()[0] == 503
            with Client(server, "/", length(SMALL), sent=bytes(SMALL)) as small:
                assert small.answer() == (200, str(SMALL))
            with Client(server, "/hook", *RIGHT, half, sent=bytes(ORDINARY)) as known:
                assert known.answer() == (200, str(ORDINARY))
            second.socket.close()  # its room is free again, although its body never came
            wait_until(lambda: accepts(server, ORDINARY))
        wait_until(lambda: server.rooms.strangers.left == 2 * ORDINARY)  # all of it, once nothing arrives


def test_members_have_a_room_of_their_own(catalog: Catalog) -> None:
    app = create_app(catalog)
    size, reader = catalog.settings.request_max_bytes, f"Authorization: Bearer {catalog.secrets.reader_token}"
    browser = app.test_client()
    browser.get("/login")  # whoever asks for the form gets a cookie, too
    stranger = f"Cookie: {cookie_of(browser)}"
    with browser.session_transaction() as session:
        session["log_in"] = "a secret"
    member = f"Cookie: {cookie_of(browser)}"
    with serving(app, app.extensions["body_limits"]) as server:
        server.rooms = Rooms(replace(server.rooms.limits, upload=0), strangers=size)
        path, sent = "/api/v1/rounds", bytes(SMALL + 1)
        with Client(server, path, length(size), sent=b"a"):
            wait_until(lambda: server.rooms.strangers.left == 0)
            for header in (stranger, f"{member}x", reader, f"{reader}x"):
                with Client(server, path, header, length(SMALL + 1)) as client:
                    assert client.answer()[0] == 503, header
            app.test_client().get("/api/v1/scenes", headers=[tuple(reader.split(": "))])
            for header, status in ((member, 403), (reader, 403)):
                with Client(server, path, header, length(SMALL + 1), sent=sent) as client:
                    assert client.answer()[0] == status, header  # it arrived, and the view judged who may do what
        app.extensions["known_tokens"].forget_all()
        assert not server.rooms.limits.are_members(reader.partition(": ")[2], "")


def cookie_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie("glacier_al")
    assert cookie is not None
    return f"{cookie.key}={cookie.value}"


def test_who_dribbles_gives_the_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "GRACE_S", 0.3)
    monkeypatch.setattr(http_server, "CLEANUP_S", 0.1)
    with serving() as server:
        server.rooms = Rooms(LIMITS, strangers=ORDINARY)
        with Client(server, "/", length(ORDINARY), sent=b"a") as slow:
            wait_until(lambda: server.rooms.strangers.left == 0)
            with suppress(OSError):  # closed while it sends
                for _ in range(100):
                    slow.socket.sendall(b"a")
                    time.sleep(0.02)
            wait_until(lambda: server.rooms.strangers.left == ORDINARY)
        with Client(server, "/", length(ORDINARY), sent=b"a") as steady:  # ten times the least rate
            for _ in range(20):
                steady.socket.sendall(bytes(arriving.LEAST_BYTES_PER_S // 2))
                time.sleep(0.05)
            assert server.rooms.strangers.left == 0
            steady.socket.sendall(bytes(ORDINARY - 1 - 20 * (arriving.LEAST_BYTES_PER_S // 2)))
            assert steady.answer() == (200, str(ORDINARY))


def test_label_studio_waits_for_room_instead_of_being_refused() -> None:
    with serving() as server:
        server.rooms = Rooms(LIMITS, known=LARGE)
        with Client(server, "/hook", *RIGHT, length(LARGE), sent=b"a") as first:
            wait_until(lambda: server.rooms.known.left == 0)
            with Client(server, "/hook", *RIGHT, length(ORDINARY // 2), sent=bytes(ORDINARY // 2)) as second:
                second.socket.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    second.socket.recv(1)
                second.socket.settimeout(10)
                first.socket.sendall(bytes(LARGE - 1))
                assert first.answer() == (200, str(LARGE))
                assert second.answer() == (200, str(ORDINARY // 2))
        wait_until(lambda: server.rooms.known.left == LARGE)


def accepts(server: Server, size: int) -> bool:
    with Client(server, "/", length(size), sent=b"a") as client:
        client.socket.settimeout(0.2)
        try:
            return client.answer()[0] != 503
        except TimeoutError:  # it waits for the rest
            return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_api_takes_large_bodies_from_label_studio_alone(catalog: Catalog) -> None:
    app = create_app(catalog)
    limits = body_limits(catalog.settings, catalog.secrets)
    assert app.extensions["body_limits"] == limits
    size = catalog.settings.request_max_bytes + 1
    password = b64encode(f"{USER}:{catalog.secrets.interactive_password}".encode()).decode()
    hook, clicks, secret = (
        "/api/v1/webhooks/label-studio",
        "/api/v1/interactive/predict",
        catalog.secrets.webhook_secret,
    )
    with serving(app, limits) as server:
        for path, header, status in [
            (hook, f"{SECRET_HEADER}: {secret}", 422),  # received, and no JSON
            (hook, f"{SECRET_HEADER}: {secret}x", 401),
            (clicks, f"Authorization: Basic {password}", 409),  # received, and clicks are switched off
            (clicks, f"Authorization: Basic {password}x", 401),
            ("/api/v1/rounds", f"Authorization: Bearer {catalog.secrets.operator_token}", 413),
        ]:
            sent = bytes(size) if status in {409, 422} else b""
            with Client(server, path, header, length(size), "Content-Type: application/json", sent=sent) as client:
                assert client.answer()[0] == status, path


def test_the_room_of_requests_that_nobody_will_answer_is_free_again() -> None:
    is_answering, may_answer = threading.Event(), threading.Event()

    def wait(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        is_answering.set()
        assert may_answer.wait(10)
        return count(environ, start_response)

    chunk = b"1\r\na\r\n0\r\n\r\n"  # of a body without a length, for which ORDINARY bytes of room are taken
    body = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
    with serving(wait) as server:
        whole = server.rooms.strangers.left
        with Client(server, "/", "Transfer-Encoding: chunked", sent=chunk + 2 * body) as client:
            assert is_answering.wait(10)
            assert server.rooms.strangers.left == whole - ORDINARY  # two requests sent with the first were dropped
            reset = struct.pack("ii", 1, 0)  # linger for 0 s: the connection ends at once
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        may_answer.set()
        wait_until(lambda: server.rooms.strangers.left == whole)


def test_a_request_whose_answer_fails_altogether_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Never:
        raise OSError("no space left on device")

    monkeypatch.setattr(http_server.StreamTask, "service", fail)
    monkeypatch.setattr(http_server.Channel.error_task_class, "service", fail)
    with serving() as server:
        whole = server.rooms.strangers.left
        with Client(server, "/", "Transfer-Encoding: chunked", sent=b"1\r\na\r\n0\r\n\r\n") as client:
            assert client.is_closed()
            assert server.rooms.strangers.left == whole
