"""Add to requests for promotions and roll-backs which version the person saw served, and which token was shown."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision_requests", sa.Column("from_version", sa.Integer()))
    op.add_column("decision_requests", sa.Column("token", sa.String(64)))
    # Earlier releases stored the name of a token that belongs to no user as the actor, as this one does.
    op.execute(
        "UPDATE decision_requests SET token = actor WHERE actor IN (SELECT name FROM access_tokens WHERE user_id IS NULL)"
    )


def downgrade() -> None:
    op.drop_column("decision_requests", "token")
    op.drop_column("decision_requests", "from_version")
