"""The fault proxy against a server that counts what reaches it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests

from chaos.fault_proxy import Call, Damage, FaultProxy, fault_proxy

LATE_S = 0.6
PATIENCE_S = 0.3


class Counting(ThreadingHTTPServer):
    """Answers each request with its own body, and keeps all of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.seen: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Echo(BaseHTTPRequestHandler):
    server: Counting

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(body)
        self.send_response(201)
        self.send_header("X-Path", self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(lambda _: None, LATE_S) as running:
        monkeypatch.setenv("http_proxy", running.url)
        monkeypatch.delenv("no_proxy", raising=False)
        yield running


@pytest.mark.parametrize("library", [requests, httpx])
def test_an_undamaged_call_passes_unchanged(server: Counting, proxy: FaultProxy, library) -> None:
    body = {"data" if library is requests else "content": b"body"}
    answer = library.post(f"{server.url}/a/b?c=d%2F&e", **body)
    assert (answer.status_code, answer.content, answer.headers["X-Path"]) == (201, b"body", "/a/b?c=d%2F&e")
    assert server.seen == [b"body"]
    assert proxy.calls == [(Call(0, "POST", f"{server.url}/a/b?c=d%2F&e"), None)]


@pytest.mark.parametrize(
    ("damage", "answered", "reached"),
    [
        (Damage.CUT_REQUEST, False, 0),
        (Damage.CUT_ANSWER, False, 1),
        (Damage.LATE_ANSWER, False, 1),
        (Damage.LATE_REQUEST, False, 1),
        (Damage.DOUBLE, True, 2),
    ],
)
def test_what_client_and_server_see_of_damage(
    server: Counting, proxy: FaultProxy, damage: Damage, answered: bool, reached: int
) -> None:
    proxy.choose = lambda _: damage
    try:
        answer = requests.post(server.url, data=b"x", timeout=PATIENCE_S)
    except (requests.ConnectionError, requests.Timeout):
        assert not answered
    else:
        assert answered and answer.content == b"x"
    before = len(server.seen)
    proxy.wait_for_late()
    assert len(server.seen) == reached
    assert (before < reached) == (damage is Damage.LATE_REQUEST)


def test_a_server_that_is_down_looks_like_one_that_is_down(proxy: FaultProxy) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get("http://127.0.0.1:9/", timeout=5)


def test_only_the_chosen_call_is_damaged(server: Counting, proxy: FaultProxy) -> None:
    proxy.choose = lambda call: Damage.CUT_REQUEST if call.number == 1 else None
    requests.post(server.url, data=b"0", timeout=5)
    with pytest.raises(requests.ConnectionError):
        requests.post(server.url, data=b"1", timeout=5)
    requests.post(server.url, data=b"2", timeout=5)
    assert server.seen == [b"0", b"2"]
