"""The database: its engine, sessions for reading and for writing, and its migrations."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_TIMEOUT_S = 60.0  # how long a writer waits for the write lock of SQLite
_LOOK_S = 0.002  # how often it looks; SQLite itself would look less and less often, down to each tenth of a second
_LARGEST_LOG_PAGES = 16_000  # 64 MB; SQLite's default is 1,000: some seventy drawings
# Codes of what another process only hinders for a while; the second, if it recovers the log on a machine under load.
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})


class Database:
    """A database engine with sessions for reading and for writing.

    On SQLite a transaction that begins by reading and then writes can fail at once when another process wrote in
    between, without waiting. So writers take the write lock at the start (``BEGIN IMMEDIATE``) and wait for it.
    """

    def __init__(self, url: str, *, leaves_checkpoints: bool = False) -> None:
        """Prepare the engine; connections are opened when they are needed.

        Args:
            url: of SQLite or PostgreSQL.
            leaves_checkpoints: whether commits leave SQLite's checkpoints, which copy the log into the database and
                wait for the disk, to other processes, as long as the log is below `_LARGEST_LOG_PAGES`.
        """
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        options: dict[str, Any] = (
            {"connect_args": {"timeout": LOCK_TIMEOUT_S}} if self.is_sqlite else {"pool_pre_ping": True}
        )
        self.engine: Engine = create_engine(url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            if leaves_checkpoints:
                event.listen(self.engine, "connect", _leave_checkpoints)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._writing = self.engine.execution_options(writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading; changes are rolled back."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session that commits at the end of the block, or rolls back if the block raises."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Bring the schema to the newest revision."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writing.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check(self) -> None:
        """Raise if the database does not answer."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # _begin_sqlite sends BEGIN
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _leave_checkpoints(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_LARGEST_LOG_PAGES}")
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch SQLite to write-ahead logging, so that readers do not wait for a writer.

    Retried, because SQLite fails at once, instead of waiting, while another process switches the same database.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _PASSING or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        _take_write_lock(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_write_lock(connection: Connection) -> None:
    """Begin a transaction that writes.

    Raises:
        OperationalError: Another process held the lock for `LOCK_TIMEOUT_S`.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                passes = getattr(error.orig, "sqlite_errorcode", None) in _PASSING
                if not passes or time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
            else:
                return
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * LOCK_TIMEOUT_S:.0f}")
