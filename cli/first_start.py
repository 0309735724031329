"""Replace databases that MLflow or Label Studio left half made because their first start was interrupted.

Both create their schema step by step and cannot resume: MLflow never starts again ("table latest_metrics already
exists"), and Label Studio may have an administrator without our token. So a database counts as complete only once its
program has answered; `up` then writes a marker file next to it. A database without the marker and without user data is
moved aside before the next start of its program, which then creates a new one.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_MARKER = "database-complete"


@dataclass(frozen=True)
class FirstStart:
    """A SQLite database that a program creates at its first start.

    Attributes:
        database: Path of the database; the marker file is in the same folder.
        rows_of_users: Number of rows, by table, from which the database counts as used. For installations older
            than the marker.
    """

    database: Path
    rows_of_users: Mapping[str, int]

    def note_complete(self) -> None:
        """Write the marker file. Call it once the program has answered."""
        self._marker.touch()

    def move_aside_if_half_made(self) -> Path | None:
        """Rename a half-made database and SQLite's files next to it. Its program must not be running.

        Returns:
            The new name of the database, or None if it is complete, in use, or not there.

        Raises:
            sqlite3.Error: The database cannot be read. It stays where it is.
        """
        if not self.database.exists():
            self._marker.unlink(missing_ok=True)  # the database was removed: the marker does not apply to the next one
            return None
        if self._marker.exists():
            return None
        if self._is_used():
            self.note_complete()
            return None
        aside = self._free_name()
        for suffix in ("-journal", "-wal", "-shm", ""):  # the database last, so that an interruption is harmless
            part = self.database.with_name(self.database.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return aside

    @property
    def _marker(self) -> Path:
        return self.database.with_name(_MARKER)

    def _is_used(self) -> bool:
        with closing(sqlite3.connect(self.database)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in tables & set(self.rows_of_users):
                (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - our own names
                if count >= self.rows_of_users[table]:
                    return True
        return False

    def _free_name(self) -> Path:
        number = 1
        while (aside := self.database.with_name(f"{self.database.name}.half-made-{number}")).exists():
            number += 1
        return aside
