"""Clicks of annotators on tasks that are not submitted yet, remembered in Redis.

Label Studio sends only clicks that were not accepted, of one label at a time; those before them must be known too.
Redis may lose them at any time: then the next click mends the proposal as if it were the first.
"""

import json
import time
from collections.abc import Iterable
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError

from catalog.errors import ServiceDownError
from catalog.job_queue import JobQueue

REMEMBERED_S: Final = 6 * 3600
"""How long the clicks on a task are remembered after the last one."""
MAX_REMEMBERED: Final = 500
"""Most clicks remembered on one task; of more, the newest."""


def remember(queue: JobQueue, proposal: str, clicks: Iterable[tuple[str, Any]]) -> list[Any]:
    """Add the clicks of a request to those on the same proposal.

    Args:
        queue: Has the connection to Redis.
        proposal: The uid of the proposal.
        clicks: Id and content (JSON) of each click, oldest first. A known id with other content was moved: it is new.

    Returns:
        The content of all clicks on the proposal, oldest first.

    Raises:
        ServiceDownError: Redis does not answer.
    """
    connection, key = queue.connection, f"glacier-al:clicks:{proposal}"
    try:
        return _remember(connection, key, clicks)
    except RedisError as error:
        raise ServiceDownError("Redis", queue.address, str(error)) from error


def _remember(connection: Redis, key: str, clicks: Iterable[tuple[str, Any]]) -> list[Any]:
    stored = cast("dict[bytes, bytes]", connection.hgetall(key))
    known: dict[str, list[Any]] = {name.decode(): json.loads(entry) for name, entry in stored.items()}
    new = {
        name: [time.time(), number, content]
        for number, (name, content) in enumerate(clicks)
        if name not in known or known[name][2] != content
    }
    known |= new
    ordered = sorted(known, key=lambda name: known[name][:2])
    forgotten, kept = ordered[:-MAX_REMEMBERED], ordered[-MAX_REMEMBERED:]
    with connection.pipeline() as pipeline:
        if new:
            pipeline.hset(key, mapping={name: json.dumps(entry) for name, entry in new.items()})
        if forgotten:
            pipeline.hdel(key, *forgotten)
        pipeline.expire(key, REMEMBERED_S)
        pipeline.execute()
    return [known[name][2] for name in kept]
