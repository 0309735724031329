"""Replace the secrets of subscriptions, which stood in the clear, by uids; add requests for promotions and roll-backs.

Subscriptions of an older release get no uid: copies of the database may hold their secrets. They are kept, and so is
what they are told, until an operator asks for a new secret (`services.event_secrets`).
"""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("subscriptions") as table:
        table.add_column(sa.Column("uid", sa.String(32), nullable=True))
        table.create_unique_constraint("uq_subscriptions_uid", ["uid"])
        table.drop_column("secret")
    moment = catalog.records.UtcDateTime(timezone=True)
    op.create_table(
        "decision_requests",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("requested_at", moment, nullable=False),
        sa.Column("ended_at", moment, nullable=True),
        sa.Column("decision_id", sa.Integer(), sa.ForeignKey("promotions.id"), nullable=True),
        sa.Column("fault", sa.String(), nullable=True),
    )
    op.create_index("ix_decision_requests_ended_at", "decision_requests", ["ended_at"])


def downgrade() -> None:
    """Leave subscriptions with an empty secret, which signs nothing: each has to be made anew."""
    op.drop_table("decision_requests")
    with op.batch_alter_table("subscriptions") as table:
        table.add_column(sa.Column("secret", sa.String(), nullable=False, server_default=""))
        table.drop_constraint("uq_subscriptions_uid", type_="unique")
        table.drop_column("uid")
