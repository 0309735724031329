"""Large files before the real server: parts of them are sent right, and readers that take their time keep no thread."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from flask import Flask, send_file

from al_server.http_server import THREADS
from catalog.context import Catalog
from tests.catalog_fixtures import as_role
from tests.served_app import serving

SIZE: Final = 48 * 2**20  # more than waitress keeps of one answer while a thread waits (16 MiB)
READ_BYTES: Final = 2**16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.zip"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


@pytest.fixture
def address(app: Flask, path: Path) -> Iterator[str]:
    app.add_url_rule("/large", "large", lambda: send_file(path, "application/zip", conditional=True))
    with serving(app) as server:
        yield f"{server}/large"


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=5-", slice(5, None)), ("bytes=5-9", slice(5, 10)), ("bytes=-3", slice(SIZE - 3, None)), ("", slice(None))],
)
def test_a_part_is_what_was_asked_for(address: str, catalog: Catalog, path: Path, asked: str, part: slice) -> None:
    headers = {**as_role(catalog, "reader"), **({"Range": asked} if asked else {})}
    response = httpx.get(address, headers=headers)
    expected = path.read_bytes()[part]
    assert response.status_code == (206 if asked else 200)
    assert int(response.headers["Content-Length"]) == len(expected)
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(expected).digest()


def test_more_readers_than_threads_that_read_nothing_keep_nobody_from_an_answer(
    address: str, catalog: Catalog, path: Path
) -> None:
    place = urlsplit(address)
    token = as_role(catalog, "reader")["Authorization"]
    request = (
        f"GET /large HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {token}\r\nRange: bytes=1-\r\n\r\n".encode()
    )
    with ExitStack() as stack:
        readers = [
            stack.enter_context(socket.create_connection((place.hostname or "", place.port or 0), timeout=30))
            for _ in range(THREADS + 2)
        ]
        for reader in readers:
            reader.sendall(request)
            assert reader.recv(12) == b"HTTP/1.1 206"
        assert httpx.get(f"{place.scheme}://{place.netloc}/healthz", timeout=10).status_code == 200
        received = hashlib.sha256()
        with readers[0].makefile("rb") as file:
            while file.readline() != b"\r\n":
                pass
            left = SIZE - 1
            while left:
                data = file.read(min(left, READ_BYTES))
                received.update(data)
                left -= len(data)
    assert received.digest() == hashlib.sha256(path.read_bytes()[1:]).digest()
