"""Let labels and their proposals come from the map: of no round, and of no annotation of Label Studio."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OPENED = (
    ("proposals", "round_id", "INTEGER"),
    ("labels", "project_id", "BIGINT"),
    ("labels", "annotation_id", "BIGINT"),
)


def upgrade() -> None:
    for table, column, kind in OPENED:
        if op.get_bind().dialect.name == "sqlite":
            _rebuild(table, f"{column} {kind} NOT NULL", f"{column} {kind}")
        else:
            op.alter_column(table, column, nullable=True)


def downgrade() -> None:
    theirs = "(SELECT id FROM labels WHERE project_id IS NULL)"
    op.execute(f"DELETE FROM withdrawn_labels WHERE label_id IN {theirs}")
    op.execute(f"DELETE FROM reference_patches WHERE label_id IN {theirs}")
    op.execute("DELETE FROM labels WHERE project_id IS NULL")
    op.execute("DELETE FROM proposals WHERE round_id IS NULL")
    op.execute(
        "UPDATE patches SET state = 'unlabelled' WHERE state IN ('labelled', 'partly labelled') "
        "AND id NOT IN (SELECT patch_id FROM labels WHERE superseded_at IS NULL)"
    )
    for table, column, kind in OPENED:
        if op.get_bind().dialect.name == "sqlite":
            _rebuild(table, f"{column} {kind}", f"{column} {kind} NOT NULL")
        else:
            op.alter_column(table, column, nullable=False)


def _rebuild(table: str, found: str, wanted: str) -> None:
    """Make a table of SQLite anew with a changed column; its indexes and triggers stay as they are.

    Batch mode cannot: it drops a table to whose rows others refer, and loses the triggers. Here the references are
    checked at the end of the transaction, when the rows are back.
    """
    connection = op.get_bind()
    parts = connection.execute(
        sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL"), {"table": table}
    ).all()
    (definition,) = (sql for kind, sql in parts if kind == "table")
    if definition.count(found) != 1:
        raise RuntimeError(f"found no column {found!r} in the table {table}: {definition}")
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute(f"CREATE TABLE kept_rows AS SELECT * FROM {table}")
    op.execute(f"DROP TABLE {table}")
    op.execute(definition.replace(found, wanted))
    op.execute(f"INSERT INTO {table} SELECT * FROM kept_rows")
    op.execute("DROP TABLE kept_rows")
    for kind, sql in parts:
        if kind != "table":
            op.execute(sa.text(sql.replace(":", r"\:")))
