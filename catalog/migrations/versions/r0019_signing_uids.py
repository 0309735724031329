"""Replace the secrets of subscriptions, which stood in the clear, by the uids that secrets are derived from.

Subscriptions of an older release get no uid: copies of the database may hold their secrets. They are kept, and so is
what they are told, until an operator asks for a new secret (`services.event_secrets`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("subscriptions") as table:
        table.add_column(sa.Column("uid", sa.String(32), nullable=True))
        table.create_unique_constraint("uq_subscriptions_uid", ["uid"])
        table.drop_column("secret")


def downgrade() -> None:
    """Leave subscriptions with an empty secret, which signs nothing: each has to be made anew."""
    with op.batch_alter_table("subscriptions") as table:
        table.add_column(sa.Column("secret", sa.String(), nullable=False, server_default=""))
        table.drop_constraint("uq_subscriptions_uid", type_="unique")
        table.drop_column("uid")
