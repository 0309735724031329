"""A web server of one folder that answers range requests, in a process of its own.

GDAL keeps Python's lock while it opens an address, so that a server in the same process would never answer.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    log: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = (self.root / self.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(content)
        if wanted:
            start, stop = int(wanted[1]), min(len(content), int(wanted[2] or len(content)) + 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if body:
            with self.log.open("a") as log:  # first: who has the answer may count at once
                log.write(f"{stop - start} {self.path}\n")
            self.wfile.write(content[start:stop])

    def log_message(self, *args: Any) -> None: ...


def main(root: str, log: str) -> None:
    _Handler.root, _Handler.log = Path(root).resolve(), Path(log)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


@contextmanager
def serve(root: Path, log: Path) -> Iterator[str]:
    """Serve a folder; yields the address. Every answer's bytes and path go to `log`, one line each."""
    command = [sys.executable, "-m", "tests.imagery.range_server", str(root), str(log)]
    root_of_tests = str(Path(__file__).parents[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root_of_tests) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def bytes_sent(log: Path) -> int:
    """Return the bytes of all answers so far."""
    return sum(int(line.split()[0]) for line in log.read_text().splitlines()) if log.exists() else 0


if __name__ == "__main__":
    main(*sys.argv[1:3])
