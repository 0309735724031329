"""Signing in to a server that fails for a moment, as Label Studio does while its SQLite file is locked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labeling import accounts
from labeling.accounts import access_token
from labeling.errors import LabelStudioError

EXPERT = ("expert@glacier.local", "long enough", 5.0)


@contextmanager
def answering(statuses: list[int]) -> Iterator[str]:
    """Serve a log-in that succeeds, and answer each request for the token with the next of the statuses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asks_for_token = self.path == "/api/current-user/token"
            self._answer(statuses.pop(0) if asks_for_token else 200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(302)

        def _answer(self, status: int) -> None:
            text = json.dumps({"token": "f" * 40}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_PAUSES_S", (0.0, 0.0))


def test_a_token_is_asked_for_again_after_a_moment() -> None:
    with answering([500, 503, 200]) as url:
        assert access_token(url, *EXPERT) == "f" * 40


def test_a_server_that_keeps_failing_is_named() -> None:
    with answering([500, 500, 500]) as url, pytest.raises(LabelStudioError, match=r"status 500\. Its own log has"):
        access_token(url, *EXPERT)


def test_a_refusal_is_believed_at_once() -> None:
    with answering([403]) as url, pytest.raises(LabelStudioError, match=r"status 403\. Allow legacy tokens"):
        access_token(url, *EXPERT)
