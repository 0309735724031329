"""Databases that other programs make at their first start, and that a kill in the middle leaves useless.

MLflow and Label Studio change the schema step by step and cannot go on from half of it: MLflow never starts again
("table latest_metrics already exists"), Label Studio may have an administrator without our token. So a database
counts as complete only once its program has answered; `up` then leaves a mark beside it. A database without the mark
and without anything of a user's is moved aside at the next start of its program, which then makes a new one.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_MARK = "database-complete"


@dataclass(frozen=True)
class FirstStart:
    """A SQLite database that a program makes when it finds none.

    Attributes:
        database: Path of the database's file; the mark lies in the same folder.
        rows_of_users: Table to the number of its rows that shows that somebody has used the database. For
            installations older than the mark.
    """

    database: Path
    rows_of_users: Mapping[str, int]

    def note_complete(self) -> None:
        """Leave the mark: the program has answered, so its database is whole."""
        self._mark.touch()

    def move_aside_if_half_made(self) -> Path | None:
        """Move a half-made database aside, with what SQLite keeps beside it. Its program must not be running.

        Returns:
            The new name of the database, or None if it is complete, in use, or not there.

        Raises:
            sqlite3.Error: The database cannot be read. It stays where it is.
        """
        if not self.database.exists():
            self._mark.unlink(missing_ok=True)  # somebody removed the database: the next one is to be made first
            return None
        if self._mark.exists():
            return None
        if self._is_used():
            self.note_complete()
            return None
        aside = self._free_name()
        for suffix in ("-journal", "-wal", "-shm", ""):  # the database last: a kill between two is no harm
            part = self.database.with_name(self.database.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return aside

    @property
    def _mark(self) -> Path:
        return self.database.with_name(_MARK)

    def _is_used(self) -> bool:
        with closing(sqlite3.connect(self.database)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in tables & set(self.rows_of_users):
                (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
                if count >= self.rows_of_users[table]:
                    return True
        return False

    def _free_name(self) -> Path:
        number = 1
        while (aside := self.database.with_name(f"{self.database.name}.half-made-{number}")).exists():
            number += 1
        return aside
