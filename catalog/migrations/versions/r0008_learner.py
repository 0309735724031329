"""Add the gate's evidence, the champion a version is judged against, prior outlines, parts, edits, errors, stability."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ADDED = (
    ("promotions", "evidence", sa.JSON()),
    ("training_runs", "champion_version", sa.Integer()),
    ("scenes", "prior_outlines", sa.JSON()),
    ("proposals", "expected_edits", sa.JSON()),
    ("labels", "found", sa.JSON()),
    ("scorings", "stability", sa.JSON()),
)


def upgrade() -> None:
    for table, column, kind in ADDED:
        op.add_column(table, sa.Column(column, kind, nullable=True))
    op.add_column("rounds", sa.Column("part", sa.String(32), nullable=False, server_default="whole"))


def downgrade() -> None:
    op.drop_column("rounds", "part")
    for table, column, _ in reversed(ADDED):
        op.drop_column(table, column)
