"""Add comparisons of what is served now with what was served before."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = catalog.records.UtcDateTime(timezone=True)
    op.create_table(
        "canary_comparisons",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("decision_id", sa.Integer(), sa.ForeignKey("promotions.id"), nullable=False, unique=True),
        sa.Column("patches", sa.Integer(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("change_limit", sa.Double(), nullable=False),
        sa.Column("area_limit", sa.Double(), nullable=False),
        sa.Column("alerts", sa.JSON(), nullable=False),
        sa.Column("compared_at", moment, nullable=False),
        sa.Column("acknowledged_at", moment, nullable=True),
        sa.Column("acknowledged_by", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("canary_comparisons")
