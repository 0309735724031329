"""Connections to real servers are cut, and only those of others."""

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from catalog.context import Catalog
from catalog.settings import Settings
from chaos.connections import cut_database, cut_for, cut_redis


def test_connections_to_redis_are_cut(settings: Settings) -> None:
    catalog, other = Catalog(settings), Redis.from_url(settings.redis_url)
    listening = other.pubsub()
    listening.subscribe("something")
    own, before = catalog.queue.connection.client_id(), other.client_id()
    assert cut_redis(catalog) == 2  # the one that asked for its id, and the one that listens
    assert catalog.queue.connection.client_id() == own
    assert other.client_id() != before  # it has connected again
    assert cut_for(0.1, cut_redis, catalog) == 1
    listening.close()
    other.close()
    catalog.close()


@pytest.mark.slow
def test_connections_to_postgresql_are_cut(settings: Settings, postgresql_url: str) -> None:
    catalog = Catalog(settings.model_copy(update={"database_url": postgresql_url}))
    engine = create_engine(postgresql_url, pool_pre_ping=True)

    def number() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)

    before = number()
    assert number() == before
    assert cut_database(catalog) == 1
    assert number() != before
    assert cut_for(0.1, cut_database, catalog) == 1
    engine.dispose()
    catalog.close()
