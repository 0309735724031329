"""Add withdrawals of labels, and the versions that learnt from them."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = catalog.records.UtcDateTime(timezone=True)
    op.create_table(
        "withdrawals",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("since", moment, nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("withdrawn_at", moment, nullable=False),
        sa.Column("retrain_after_run", sa.Integer(), nullable=True),
    )
    op.create_table(
        "withdrawn_labels",
        sa.Column("label_id", sa.Integer(), sa.ForeignKey("labels.id"), primary_key=True),
        sa.Column("withdrawal_id", sa.Integer(), sa.ForeignKey("withdrawals.id"), nullable=False),
    )
    op.create_index("ix_withdrawn_labels_withdrawal", "withdrawn_labels", ["withdrawal_id"])
    op.create_table(
        "affected_versions",
        sa.Column("withdrawal_id", sa.Integer(), sa.ForeignKey("withdrawals.id"), primary_key=True),
        sa.Column("model_version", sa.Integer(), primary_key=True),
        sa.Column("directly", sa.Boolean(), nullable=False),
        sa.Column("tagged_at", moment, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("affected_versions")
    op.drop_table("withdrawn_labels")
    op.drop_table("withdrawals")
