"""Change a table of SQLite in ways that its ALTER TABLE cannot."""

import sqlalchemy as sa
from alembic import op


def rebuild_table(table: str, found: str, wanted: str) -> None:
    """Make a table of SQLite anew with a changed definition; its rows, indexes and triggers stay as they are.

    Batch mode cannot: it drops a table to whose rows others refer, and loses the triggers. Here the references are
    checked at the end of the transaction, when the rows are back.

    Args:
        table: its name.
        found: the part of its definition to replace, which occurs once.
        wanted: what replaces it; the columns and their order stay.
    """
    connection = op.get_bind()
    parts = connection.execute(
        sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL"), {"table": table}
    ).all()
    (definition,) = (sql for kind, sql in parts if kind == "table")
    if definition.count(found) != 1:
        raise RuntimeError(f"expected {found!r} once in the definition of the table {table}, found: {definition}")
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute(f"CREATE TABLE kept_rows AS SELECT * FROM {table}")
    op.execute(f"DROP TABLE {table}")
    op.execute(sa.text(definition.replace(found, wanted).replace(":", r"\:")))
    op.execute(f"INSERT INTO {table} SELECT * FROM kept_rows")
    op.execute("DROP TABLE kept_rows")
    for kind, sql in parts:
        if kind != "table":
            op.execute(sa.text(sql.replace(":", r"\:")))
