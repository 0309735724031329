"""The clients of a soak against a real API without a version."""

import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from al_server.body_limits import BodyLimits
from al_server.http_server import make_server
from catalog.context import Catalog
from chaos.clients import Scraper, WebTool


@pytest.fixture
def api_url(app: Flask) -> Iterator[str]:
    server = make_server(app, "127.0.0.1", 0, BodyLimits(2**20))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.stop()
    thread.join()


def test_answers_are_counted_by_kind_and_errors_too(api_url: str, catalog: Catalog) -> None:
    reader = catalog.secrets.reader_token
    clients = [WebTool(api_url, reader, 0.02), Scraper(api_url, reader, 0.02), Scraper(api_url, "wrong", 0.02)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 30
    while not all(client.counts for client in clients):
        assert time.monotonic() < deadline, [client.counts for client in clients]
        time.sleep(0.02)
    for client in clients:
        client.stopped.set()
        client.join()
    assert [set(client.counts) for client in clients] == [{"no version yet"}, {"scraped"}, {"failed"}]
