"""Add to requests for promotions and roll-backs which version the person saw served."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision_requests", sa.Column("from_version", sa.Integer()))


def downgrade() -> None:
    op.drop_column("decision_requests", "from_version")
