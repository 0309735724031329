"""Let labels and their proposals come from the map: of no round, and of no annotation of Label Studio."""

from alembic import op

from catalog.migrations.sqlite_tables import rebuild_table

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
            rebuild_table(table, f"{column} {kind} NOT NULL", f"{column} {kind}")
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
            rebuild_table(table, f"{column} {kind}", f"{column} {kind} NOT NULL")
        else:
            op.alter_column(table, column, nullable=False)
