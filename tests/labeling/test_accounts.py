"""What is said when Label Studio hands out no token: it refuses, or it has none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labeling.accounts import access_token
from labeling.errors import LabelStudioError

EXPERT = ("expert@glacier.local", "long enough", 5.0)


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve a log-in that succeeds, and answer requests for the token with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asks_for_token = self.path == "/api/current-user/token"
            self._answer(status if asks_for_token else 200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(302)

        def _answer(self, code: int) -> None:
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_fault_of_the_server_is_not_taken_for_a_refusal() -> None:
    with answering(500) as url, pytest.raises(LabelStudioError, match=r"status 500\. If its log says"):
        access_token(url, *EXPERT)


def test_a_refusal_names_the_setting() -> None:
    with answering(403) as url, pytest.raises(LabelStudioError, match=r"status 403\. Allow legacy tokens"):
        access_token(url, *EXPERT)
