"""The application behind the real HTTP server, on a port of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from al_server.http_server import make_server


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app during the block; yield its address."""
    server = make_server(app, "127.0.0.1", 0, app.extensions["body_limits"])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.stop()
        thread.join(20)
