"""Adding rows in one statement, where the object-relational way needs a query, a savepoint and a flush for each."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session, make_transient_to_detached
from sqlalchemy.sql.dml import ReturningInsert

from catalog.records import Base


def insert_unless_known(session: Session, rows: Sequence[Base], unique: InstrumentedAttribute[Any]) -> list[bool]:
    """Insert rows in their order, except those with a value of a unique column that is stored already.

    Of two processes that insert the same at once, the second waits for the first.

    Args:
        session: a writing session; inserted rows belong to it afterwards.
        rows: new rows of one class, which are in no session and have no relations set.
        unique: the column.

    Returns:
        For each row, whether it was inserted; of several with one value, the first may be.
    """
    if not rows:
        return []
    connection = session.connection()
    statement, names = _insertion(type(rows[0]), unique.name, connection.dialect.name)
    added = {
        found[unique.name]: found
        for found in connection.execute(statement, [_values(row, names) for row in rows]).mappings()
    }
    return [_take_up(session, row, added.pop(getattr(row, unique.key), None)) for row in rows]


@cache
def _insertion(row_class: type[Base], unique: str, dialect: str) -> tuple[ReturningInsert[Any], dict[Column[Any], str]]:
    """Return the statement, and the attributes by column; making them takes longer than inserting a row."""
    mapper = inspect(row_class)
    table: Table = mapper.local_table  # type: ignore[assignment]
    names = {column: mapper.get_property_by_column(column).key for column in table.columns}
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    told = dict.fromkeys((*table.primary_key, table.c[unique]))
    return insert(table).on_conflict_do_nothing(index_elements=[table.c[unique]]).returning(*told), names


def _values(row: Base, names: dict[Column[Any], str]) -> dict[str, object]:
    """Return what a row holds by column, defaults included, which it gets; without a key that the database counts."""
    values = {}
    for column, name in names.items():
        if name not in row.__dict__ and (column.default is not None or not column.primary_key):
            setattr(row, name, _default(column))
        if name in row.__dict__:
            values[column.name] = row.__dict__[name]
    return values


def _take_up(session: Session, row: Base, added: Any) -> bool:
    """Let the session know a row that was inserted; return whether it was."""
    if added is None:
        return False
    for name, value in added.items():
        setattr(row, name, value)
    make_transient_to_detached(row)
    session.add(row)
    return True


def _default(column: Column[Any]) -> object:
    """Return what a column holds if nothing is given."""
    if column.default is None:
        return None
    return column.default.arg(None) if column.default.is_callable else column.default.arg  # type: ignore[attr-defined]
