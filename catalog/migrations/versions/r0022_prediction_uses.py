"""Add when stored predictions were last used."""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = catalog.records.UtcDateTime(timezone=True)
    op.create_table(
        "prediction_uses",
        sa.Column("prediction", sa.String(200), primary_key=True),
        sa.Column("used_at", moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("prediction_uses")
