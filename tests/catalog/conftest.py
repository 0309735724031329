"""The tests of this room run on SQLite and, as slow tests, on PostgreSQL, which production uses."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from catalog.database import Database
from catalog.records import Base
from tests.services import free_port, running, wait_until

USER = "glacier"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a migrated PostgreSQL database on a fresh server that keeps nothing."""
    if shutil.which("postgres") is None or shutil.which("initdb") is None:
        pytest.skip("no PostgreSQL server programs (apt-get install postgresql): the catalog is tested on SQLite only")
    owner = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:  # pytest's own folders are closed to `owner`
        if owner is not None:
            os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
        yield from _serve(Path(folder), owner)


def _serve(folder: Path, owner: str | None) -> Iterator[str]:
    port, data = free_port(), folder / "data"
    initialise = ["initdb", "--pgdata", data, "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
    subprocess.run(initialise, check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL)
    command = ["postgres", "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    url = f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
    if owner is not None:
        command = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--init-groups", *command]
    with running(command, {}, log=folder / "log.txt") as process:
        wait_until(lambda: (data / "postmaster.pid").is_file() and _answers(url), process, folder / "log.txt")
        database = Database(url)
        database.migrate()
        database.dispose()
        yield url


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


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
