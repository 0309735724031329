"""When a scene was acquired."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Not in batch mode, which on SQLite drops the table and makes it anew: other tables refer to its rows.


def upgrade() -> None:
    op.add_column("scenes", sa.Column("acquired", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("scenes", "acquired")
