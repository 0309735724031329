"""``GET /api/v1/live``: what changes on the server, as server-sent events, so that pages ask again only then.

An event names topics, never contents: a page asks the API for what it shows, with its own rights. The connection of a
listener belongs to the HTTP server's own loop (`al_server.http_server.StreamTask`) and takes no thread.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from flask import Response, current_app, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from al_server.http_server import STREAM
from catalog.context import Catalog
from services.live_state import Topic, changed_topics, live_state, mark
from services.request_types import Closed

api = APIBlueprint("live", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="map")])
log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
ALIVE_EVERY_S: Final = 10.0
"""How often a listener hears something, if only that it is heard: idle connections are closed after 20 s."""
LONGEST_S: Final = 600.0
"""A listener is sent away after this time and comes back by itself: then its log-in is checked again."""

Send = Callable[[bytes | None], bool]
"""Sends bytes to a listener, or None to end the stream; returns whether the listener is still there."""


@dataclass
class Listener:
    """One who is told of changes.

    Attributes:
        since: When the connection began, by the clock of `time.monotonic`.
        known: The mark of the state that it knows (`services.live_state.mark`); None: nothing.
    """

    since: float
    known: str | None


class Live:
    """Looks for changes while anybody listens, in a thread of its own."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._listeners: dict[Send, Listener] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, send: Send, known: str | None) -> None:
        """Begin to tell a listener of changes, the first time of all that differ from what it knows."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="live", daemon=True)
                thread.start()
                self._thread = thread
            self._listeners[send] = Listener(time.monotonic(), known)  # the thread waits for the lock

    def _watch(self) -> None:
        told = time.monotonic()
        while True:
            is_due = time.monotonic() - told >= ALIVE_EVERY_S
            if is_due:
                told = time.monotonic()
            try:
                self._tell_all(is_due)
            except Exception:  # of memory that is lacking, for instance: the next turn may have it
                log.exception("changes cannot be told")
            with self._lock:
                if not self._listeners:
                    self._thread = None
                    return
            time.sleep(LOOK_EVERY_S)

    def _tell_all(self, is_due: bool) -> None:
        state = self._look()
        with self._lock:
            listeners = dict(self._listeners)
        gone = [send for send, listener in listeners.items() if not self._tell(send, listener, state, is_due)]
        with self._lock:
            for send in gone:
                del self._listeners[send]

    def _look(self) -> dict[Topic, str] | None:
        """Return the state now, or None if the database does not say.

        A setting that another process changed is taken in first: the pages that hear of it ask for what it changes.
        """
        try:
            with self._catalog.read() as session:
                state = live_state(session)
            self._catalog.refresh_settings()
        except SQLAlchemyError:
            log.exception("changes cannot be looked for")
            return None
        return state

    @staticmethod
    def _tell(send: Send, listener: Listener, state: dict[Topic, str] | None, is_due: bool) -> bool:
        """Tell a listener what changed, or now and then that it is heard; return whether it listens further."""
        topics = changed_topics(state, listener.known) if state else []
        if state and topics:
            listener.known = mark(state)
            message = f"id: {listener.known}\nevent: changed\ndata: {json.dumps(topics)}\n\n".encode()
        elif is_due:
            message = b": alive\n\n"
        else:
            message = None
        if message and not send(message):
            return False
        if time.monotonic() - listener.since > LONGEST_S:
            send(None)
            return False
        return True


class Known(Closed):
    """What a listener knows."""

    since: str | None = Field(
        None,
        max_length=200,
        description="The id of the event that was heard last; the header `Last-Event-ID` goes before it",
    )


_EVENT: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "what the listener knows after it"},
        "event": {"const": "changed"},
        "data": {"type": "string", "description": "a list of topics as JSON"},
    },
}


@api.get(
    "/live",
    responses={
        200: {"description": "Events that name what changed", "content": {"text/event-stream": {"schema": _EVENT}}}
    },
)
def live(query: Known) -> Response:
    """Tell what changes, as server-sent events: `changed` with a list of topics, for which to ask again.

    Topics are models, rounds, jobs, labels, scenes and trouble. The first event names all that changed since the one
    that was heard last, and all topics if none was. The stream ends after ten minutes; browsers come back.
    """
    watcher: Live = current_app.extensions["live"]
    request.environ[STREAM] = partial(watcher.add, known=request.headers.get("Last-Event-ID") or query.since)
    # An iterator has no length, so that the response is sent in chunks and may go on.
    response = Response(iter([b"retry: 2000\n\n"]), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    return response
