"""Add the append-only record of settings that were changed while the system ran."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "setting_changes",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.JSON()),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", catalog.records.UtcDateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_setting_changes_name", "setting_changes", ["name"])
    refusal = "changes of settings are append-only"
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER setting_changes_no_{what.lower()} BEFORE {what} ON setting_changes "
                f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_setting_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER setting_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON setting_changes "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_setting_change()"
    )


def downgrade() -> None:
    op.drop_table("setting_changes")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_setting_change()")
