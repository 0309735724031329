"""The tests of this room run on SQLite and, as slow tests, on PostgreSQL, which production uses."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from benchmarks.postgresql import is_installed, postgresql_server
from catalog.database import Database
from catalog.records import Base


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a migrated PostgreSQL database on a fresh server that keeps nothing."""
    if not is_installed():
        pytest.skip("no PostgreSQL server programs (apt-get install postgresql): the catalog is tested on SQLite only")
    with postgresql_server() as url:
        database = Database(url)
        database.migrate()
        database.dispose()
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty database of either kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_database"), tmp_path / "catalog.sqlite")
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    url: str = request.getfixturevalue("postgres_server")
    engine = create_engine(url)
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return url
