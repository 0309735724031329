"""Add data sets that are made in the browser."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_sets",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("with_model", sa.Boolean(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("asked_at", catalog.records.UtcDateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("contents", sa.JSON(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("data_sets")
