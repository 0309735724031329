"""What changes on the server, as it changes: the stream of ``GET /api/v1/live`` (server-sent events)."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx

from glacier_al_client.errors import ProblemError, UnreachableError
from glacier_al_client.transport import Transport

SILENCE_S: Final = 30.0
"""The server says something every ten seconds; after this time without a word the connection is taken for dead."""
LONGEST_PAUSE_S: Final = 60.0
REFUSED: Final = range(400, 500)


@dataclass(frozen=True)
class Event:
    """An event of the stream."""

    name: str
    data: str
    id: str


def changed_topics(transport: Transport) -> Iterator[frozenset[str]]:
    """Yield which topics changed: what to ask the API for again.

    The first time all topics are named. After an interruption those are named that changed meanwhile, since the server
    is told which event was heard last. The server ends the stream every ten minutes.

    Raises:
        ProblemError: The server refuses the stream, e.g. because the token was revoked.
    """
    failures = 0
    pause_s = 2.0
    last = ""
    while True:
        heard = {"Last-Event-ID": last} if last else {}
        try:
            with transport.stream("GET", "/api/v1/live", headers=heard, attempts=1, silence_s=SILENCE_S) as response:
                failures = 0
                for event in _events(response.iter_lines()):
                    if event.name == "retry":
                        pause_s = int(event.data) / 1000
                    elif event.name == "changed":
                        last = event.id
                        yield frozenset(json.loads(event.data))
        except ProblemError as problem:
            if problem.status in REFUSED:
                raise
            failures += 1
        except (httpx.HTTPError, UnreachableError):
            failures += 1
        time.sleep(min(pause_s * 2.0 ** max(0, failures - 1), LONGEST_PAUSE_S))


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse a stream of events; the time to wait before coming back is an event ``retry``."""
    name, data, event_id = "message", list[str](), ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield Event(name, "\n".join(data), event_id)
        if not line:
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            event_id = value
        elif field == "retry" and value.isdecimal():
            yield Event("retry", value, event_id)
