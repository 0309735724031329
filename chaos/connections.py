"""Cut the connections to Redis and to PostgreSQL, which the servers themselves can do."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from catalog.context import Catalog

_EVERY_S: Final = 0.5
_CUT: Final = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def cut_redis(catalog: Catalog) -> int:
    """Cut all connections to Redis but the one that asks for it; return how many there were."""
    kinds = ("normal", "pubsub")
    return sum(int(catalog.queue.connection.client_kill_filter(_type=kind, skipme=True)) for kind in kinds)


def cut_database(catalog: Catalog) -> int:
    """Cut all connections to the PostgreSQL database but the one that asks for it; return how many there were."""
    with catalog.read() as session:
        return int(session.scalar(_CUT) or 0)


def cut_for(seconds: float, cut: Callable[[Catalog], int], catalog: Catalog) -> int:
    """Cut connections again and again for some time; return how many there were."""
    until, found = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with suppress(RedisError, SQLAlchemyError):  # away for another reason
            found += cut(catalog)
        time.sleep(_EVERY_S)
    return found
