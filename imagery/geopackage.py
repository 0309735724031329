"""Checking the schema of a GeoPackage before GDAL opens it.

A GeoPackage is an SQLite database, whose views, virtual tables and generated columns run what its author wrote whenever
they are read: a view may never end, or make gigabytes from nothing. Outlines are plain tables.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from imagery.crs_grids import grid_paths
from imagery.errors import OutlineError, UnreadableOutlinesError

_MOST_TABLES: Final = 10_000
_STEPS: Final = 10_000_000  # of SQLite's virtual machine, about a second
_COMPUTED: Final = re.compile(r"CREATE\s+(VIEW|VIRTUAL)\b", re.IGNORECASE)
_STORED: Final = re.compile(r"CREATE\s+(TABLE|(UNIQUE\s+)?INDEX|TRIGGER)\b", re.IGNORECASE)
_RTREE: Final = re.compile(r'CREATE VIRTUAL TABLE ("(?:[^"]|"")+"|\w+) USING rtree\s*\(', re.IGNORECASE)
# 2 and 3 are the numbers of computed columns (https://sqlite.org/pragma.html#pragma_table_xinfo).
_GENERATED: Final = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (2, 3)"
_SYSTEMS: Final = "gpkg_spatial_ref_sys"
_HELP: Final = "export the layer with QGIS, or with ogr2ogr -f GPKG"


def check_geopackage(path: str) -> None:
    """Refuse a GeoPackage that computes what it holds.

    Raises:
        OutlineError: It has views, virtual tables other than spatial indexes, or generated columns; or it is damaged.
    """
    try:
        # Not "immutable": tables may still be in the write-ahead log beside the file.
        with closing(
            sqlite3.connect(f"file:{quote(os.fsencode(Path(path).absolute()))}?mode=ro", uri=True)
        ) as database:
            _limit(database)
            fault = next(_faults(database), None)
    except sqlite3.OperationalError as error:
        raise UnreadableOutlinesError(f"{path}: found a GeoPackage that cannot be read ({error}): {_HELP}") from error
    except (sqlite3.Error, ValueError, OverflowError) as error:  # ValueError: a text that is no UTF-8
        raise OutlineError(f"{path}: found a GeoPackage that cannot be read ({error}): {_HELP}") from error
    if fault is not None:
        raise OutlineError(f"{path}: found {fault}; expected plain tables, which compute nothing: {_HELP}")


def _limit(database: sqlite3.Connection) -> None:
    steps = iter(range(_STEPS // 1000))
    database.set_progress_handler(lambda: next(steps, None) is None, 1000)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 << 20)
    database.execute("PRAGMA trusted_schema = OFF")


def _faults(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute("SELECT lower(type), name, sql FROM sqlite_master").fetchmany(_MOST_TABLES + 1)
    if len(rows) > _MOST_TABLES:
        yield f"more than {_MOST_TABLES:,} tables and indexes"
    for _, name, sql in rows:
        yield from _fault(name, sql)
    for kind, name, _ in rows:
        if kind == "table":
            if str(name).lower() == _SYSTEMS:
                for row in database.execute(f"SELECT * FROM {_SYSTEMS}"):  # noqa: S608 - a constant
                    yield from (f"a coordinate reference system of the file {path!r}" for path in grid_paths(str(row)))
            columns = database.execute(_GENERATED, (name,))
            yield from (f"the generated column {column!r} of {name!r}" for (column,) in columns)


def _fault(name: object, sql: object) -> Iterator[str]:
    """Yield what computes, told by its SQL, which SQLite runs to make it: type and page may be written by hand."""
    text = str(sql)
    if found := _COMPUTED.match(text):
        if not _RTREE.match(text):
            yield f"the view {name!r}" if found[1].upper() == "VIEW" else f"the virtual table {name!r}"
    elif sql is not None and not _STORED.match(text):  # the index of a primary key has no SQL
        yield f"{name!r}, which is no table, index or trigger"
