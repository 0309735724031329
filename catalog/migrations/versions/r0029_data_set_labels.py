"""Add which labels a data set holds."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_set_labels",
        sa.Column("data_set_id", sa.Integer(), sa.ForeignKey("data_sets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("label_id", sa.Integer(), sa.ForeignKey("labels.id"), primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("data_set_labels")
