"""Parsing JSON that others send, with a bound on the memory it takes."""

import json
from contextlib import suppress
from typing import Any, Final

import orjson

from labeling.errors import EventError

MOST_CONTAINERS: Final = 1_000_000
"""Most lists and objects in a body. An empty list is two bytes of text, 56 in memory; a corner of a polygon is one."""


def read_json(body: bytes) -> tuple[Any, int]:
    """Return the value that a body holds, and how many lists and objects it has at most: it is no deeper than that.

    Raises:
        EventError: It is not JSON, is nested too deeply, or holds more than `MOST_CONTAINERS` lists and objects.
    """
    containers = body.count(b"[") + body.count(b"{")
    if containers > MOST_CONTAINERS:
        raise EventError(f"The body holds {containers} lists and objects; at most {MOST_CONTAINERS} are accepted.")
    with suppress(ValueError):  # several times as fast; what it refuses, such as NaN, the standard library may accept
        return orjson.loads(body), containers
    try:
        return json.loads(body), containers
    except RecursionError as error:
        raise EventError("The body is nested too deeply to be read.") from error
    except ValueError as error:
        raise EventError(f"The body is not JSON: {error}.") from error
