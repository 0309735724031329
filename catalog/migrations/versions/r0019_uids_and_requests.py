"""Replace the secrets of subscriptions, which stood in the clear, by uids; add requests for promotions and roll-backs.

Subscriptions of an older release get no uid: copies of the database may hold their secrets. They are kept, and so is
what they are told, until an operator asks for a new secret (`services.event_secrets`).
"""

import sqlalchemy as sa
from alembic import op

import catalog.records
from catalog.migrations.sqlite_tables import rebuild_table

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

KEY, UNIQUE_UID = "PRIMARY KEY (id)", ", \n\tCONSTRAINT uq_subscriptions_uid UNIQUE (uid)"  # as SQLAlchemy writes them


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("uid", sa.String(32), nullable=True))
    op.drop_column("subscriptions", "secret")
    if op.get_bind().dialect.name == "sqlite":
        rebuild_table("subscriptions", KEY, f"{KEY}{UNIQUE_UID}")
    else:
        op.create_unique_constraint("uq_subscriptions_uid", "subscriptions", ["uid"])
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
    if op.get_bind().dialect.name == "sqlite":
        rebuild_table("subscriptions", UNIQUE_UID, "")
    else:
        op.drop_constraint("uq_subscriptions_uid", "subscriptions", type_="unique")
    op.drop_column("subscriptions", "uid")
    op.add_column("subscriptions", sa.Column("secret", sa.String(), nullable=False, server_default=""))
