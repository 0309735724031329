"""Identify annotations by more than their ids, and keep what Label Studio had and what reconciliation mended."""

import sqlalchemy as sa
from alembic import op

from catalog.migrations.sqlite_tables import rebuild_table

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BY_TIME, BY_EVENT = ["project_id", "annotation_id", "annotated_at"], ["event_id"]


def upgrade() -> None:
    op.add_column("label_events", sa.Column("annotation_uid", sa.String(64), nullable=True))
    op.add_column("label_events", sa.Column("content_sha256", sa.String(64), nullable=True))
    op.create_index("ix_label_events_task", "label_events", ["project_id", "task_id"])
    _replace_unique(BY_TIME, BY_EVENT)
    op.drop_table("watermarks")  # the next reconciliation is a full one, and begins anew
    op.create_table(
        "seen_projects",
        sa.Column("project_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("studio_clock", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared_fully_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "seen_tasks",
        sa.Column("project_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("proposal_uid", sa.String(64), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("annotations", sa.Integer(), nullable=False),
        sa.Column("skips", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "task_id"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("full_because", sa.String(), nullable=True),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("read", sa.Integer(), nullable=False),
        sa.Column("mended", sa.JSON(), nullable=False),
        sa.Column("event_ids", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    for table in ("reconciliations", "seen_tasks", "seen_projects"):
        op.drop_table(table)
    op.create_table(
        "watermarks",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("reached", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    # The older release keeps one label for each time of change: the newest stands for all.
    op.execute(
        "DELETE FROM labels WHERE superseded_at IS NOT NULL AND EXISTS (SELECT 1 FROM labels AS newer WHERE "
        "newer.project_id = labels.project_id AND newer.annotation_id = labels.annotation_id AND "
        "newer.annotated_at = labels.annotated_at AND newer.id > labels.id)"
    )
    _replace_unique(BY_EVENT, BY_TIME)
    op.drop_index("ix_label_events_task", "label_events")
    op.drop_column("label_events", "content_sha256")
    op.drop_column("label_events", "annotation_uid")


def _replace_unique(before: list[str], after: list[str]) -> None:
    """Replace the unique constraint of the labels, to whose rows others refer."""
    if op.get_bind().dialect.name == "sqlite":
        rebuild_table("labels", f"UNIQUE ({', '.join(before)})", f"UNIQUE ({', '.join(after)})")
    else:
        op.drop_constraint(f"labels_{'_'.join(before)}_key", "labels", type_="unique")
        op.create_unique_constraint(f"labels_{'_'.join(after)}_key", "labels", after)
