"""Copies of databases while they are in use: SQLite by its backup API, PostgreSQL by ``pg_dump``."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from catalog.errors import BackupError
from services.backup_folder import sha256_of


def copy_sqlite(source: Path, target: Path) -> str:
    """Copy a SQLite database as it is at one moment, while others write; return the SHA-256 of the copy.

    In one step, since a copy in several begins anew whenever somebody writes.

    Raises:
        BackupError: The source cannot be read, or the copy is not a whole database.
    """
    # A database that is missing is not made; the journal of a process that was killed as it wrote is rolled back.
    address = f"{source.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=60)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            (found,) = copy.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(
            f"{source} cannot be copied ({error}); expected a SQLite database in a folder that this user may read and "
            f"write, and room for the copy in {target.parent}"
        ) from error
    if found != "ok":
        raise BackupError(f"{source} is damaged ({found}); restore an earlier backup")
    return sha256_of(target)


def dump_postgresql(url: str, target: Path) -> str:
    """Dump a PostgreSQL database as it is at one moment; return the SHA-256 of the dump."""
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return sha256_of(target)


def load_postgresql(url: str, dump: Path) -> None:
    """Load a dump into an empty PostgreSQL database, all of it or nothing."""
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(dump))


def _run(program: str, url: str, *arguments: str) -> None:
    found = shutil.which(program) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), None)
    if found is None:
        raise BackupError(f"found no program {program}; install the client programs of PostgreSQL (postgresql-client)")
    parsed = make_url(url)
    # The password goes by the environment: every user may list the arguments of a process.
    password = {"PGPASSWORD": str(parsed.password)} if parsed.password is not None else {}
    address = parsed.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    done = subprocess.run(
        [found, f"--dbname={address}", *arguments],
        env={**os.environ, **password},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{program} failed: {done.stderr.strip()[-500:]}")
