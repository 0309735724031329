"""Adding a row in one statement, where the object-relational way needs a query, a savepoint and a flush."""

from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session, make_transient_to_detached

from catalog.records import Base


def insert_unless_known(session: Session, row: Base, unique: InstrumentedAttribute[Any]) -> bool:
    """Insert a row unless one with the same value of a unique column is stored; return whether it was inserted.

    Of two processes that insert the same at once, the second waits for the first.

    Args:
        session: a writing session; an inserted row belongs to it afterwards.
        row: a new row, which is in no session and has no relations set.
        unique: the column.
    """
    mapper = inspect(type(row))
    table: Table = mapper.local_table  # type: ignore[assignment]
    values = {}
    for column in table.columns:
        key = mapper.get_property_by_column(column).key
        if key not in row.__dict__ and (column.default is not None or not column.primary_key):
            setattr(row, key, _default(column))
        if key in row.__dict__:  # all but a key that the database counts
            values[column.name] = row.__dict__[key]
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).on_conflict_do_nothing(index_elements=[unique]).returning(*table.primary_key)
    added = session.execute(statement, values).first()
    if added is None:
        return False
    for name, value in added._mapping.items():
        setattr(row, name, value)
    make_transient_to_detached(row)
    session.add(row)
    return True


def _default(column: Column[Any]) -> object:
    """Return what a column holds if nothing is given."""
    if column.default is None:
        return None
    return column.default.arg(None) if column.default.is_callable else column.default.arg  # type: ignore[attr-defined]
