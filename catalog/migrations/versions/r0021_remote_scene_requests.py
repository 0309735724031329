"""Add requests about scenes whose files lie on another machine."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = catalog.records.UtcDateTime(timezone=True)
    op.create_table(
        "remote_scene_requests",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("replaces", sa.Integer(), nullable=True),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("requested_at", moment, nullable=False),
        sa.Column("ended_at", moment, nullable=True),
        sa.Column("summary", sa.JSON(), nullable=True),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("fault", sa.String(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("remote_scene_requests")
