"""``GET /api/v1/live``: what changes on the server, as server-sent events, so that pages ask again only then.

An event names topics, never contents: a page asks the API for what it shows, with its own rights. The connection of a
listener belongs to the HTTP server's own loop (`al_server.http_server.StreamTask`) and takes no thread.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from flask import Response, current_app, request
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy.exc import SQLAlchemyError

from al_server.http_server import STREAM
from al_server.schemas import media
from catalog.context import Catalog
from services.live_state import Topic, live_state

api = APIBlueprint("live", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="map")])
log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
ALIVE_EVERY_S: Final = 10.0
"""How often a listener hears something, if only that it is heard: idle connections are closed after 20 s."""
LONGEST_S: Final = 600.0
"""A listener is sent away after this time and comes back by itself: then its log-in is checked again."""

Send = Callable[[bytes | None], bool]
"""Sends bytes to a listener, or None to end the stream; returns whether the listener is still there."""


class Live:
    """Looks for changes while anybody listens, in a thread of its own."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._listeners: dict[Send, float] = {}  # since when
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, send: Send) -> None:
        """Begin to tell a listener of changes."""
        with self._lock:
            self._listeners[send] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="live", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        before: dict[Topic, str] | None = None
        told = time.monotonic()
        while True:
            before, changed = self._look(before)
            if changed:
                self._tell(f"event: changed\ndata: {json.dumps(changed)}\n\n".encode())
                told = time.monotonic()
            elif time.monotonic() - told >= ALIVE_EVERY_S:
                self._tell(b": alive\n\n")
                told = time.monotonic()
            with self._lock:
                if not self._listeners:
                    self._thread = None
                    return
            time.sleep(LOOK_EVERY_S)

    def _look(self, before: dict[Topic, str] | None) -> tuple[dict[Topic, str] | None, list[str]]:
        """Return the state now, and the topics that changed since; the first look only begins."""
        try:
            with self._catalog.read() as session:
                found = live_state(session)
        except SQLAlchemyError:
            log.exception("changes cannot be looked for")
            return before, []
        return found, [] if before is None else [topic for topic in Topic if found[topic] != before[topic]]

    def _tell(self, message: bytes) -> None:
        with self._lock:
            listeners = dict(self._listeners)
        gone = [send for send in listeners if not send(message)]
        old = [send for send, since in listeners.items() if time.monotonic() - since > LONGEST_S]
        for send in old:
            send(None)
        with self._lock:
            for send in (*gone, *old):
                self._listeners.pop(send, None)


@api.get("/live", responses={200: media("text/event-stream", "Events that name what changed", text=True)})
def live() -> Response:
    """Tell what changes, as server-sent events: `changed` with a list of topics, for which to ask again.

    Topics are models, rounds, jobs, labels, scenes and trouble. The stream ends after ten minutes; browsers come back.
    """
    watcher: Live = current_app.extensions["live"]
    request.environ[STREAM] = watcher.add
    # An iterator has no length, so that the response is sent in chunks and may go on.
    response = Response(iter([b"retry: 2000\n\n"]), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    return response
