"""Add the reference patches, whose label an operator accepted as the truth."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reference_patches",
        sa.Column("patch_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("accepted_at", catalog.records.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["label_id"], ["labels.id"]),
        sa.ForeignKeyConstraint(["patch_id"], ["patches.id"]),
        sa.PrimaryKeyConstraint("patch_id"),
    )


def downgrade() -> None:
    op.drop_table("reference_patches")
