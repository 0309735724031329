"""Make the record of decisions append-only; add intents, the copy of the registry, states of parts, webhooks."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
DECISION = ("model_version", "previous_version", "verdict", "reason", "evidence", "actor", "decided_at")


def upgrade() -> None:
    op.create_table(
        "promotion_intents",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("model_version", sa.Integer()),
        sa.Column("previous_version", sa.Integer()),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence", sa.JSON()),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("moves_learner", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "registry_state",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("seen_at", MOMENT),
        sa.Column("fault", sa.String()),
    )
    op.create_table(
        "registry_versions",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
    )
    op.create_table(
        "part_states",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("fault", sa.String()),
        sa.Column("checked_at", MOMENT, nullable=False),
    )
    _create_webhooks()
    _split_promotions()
    _guard_promotions()


def _create_webhooks() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("removed_at", MOMENT),
    )
    op.create_table(
        "outgoing_events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(40), nullable=False, unique=True),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("happened_at", MOMENT, nullable=False),
    )
    op.create_index("ix_outgoing_events_happened_at", "outgoing_events", ["happened_at"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("subscription_id", sa.Integer(), sa.ForeignKey("subscriptions.id"), nullable=False),
        sa.Column("event_id", sa.Integer(), sa.ForeignKey("outgoing_events.id"), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", sa.String()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT),
        sa.Column("delivered_at", MOMENT),
        sa.UniqueConstraint("subscription_id", "event_id"),
    )
    op.create_index("ix_deliveries_state", "deliveries", ["state"])


def _split_promotions() -> None:
    """Give each decision a uid, and move those that have not taken effect to the intents."""
    connection = op.get_bind()
    op.add_column("promotions", sa.Column("uid", sa.String(32), nullable=True))
    for (number,) in connection.execute(sa.text("SELECT id FROM promotions")).all():
        connection.execute(
            sa.text("UPDATE promotions SET uid = :uid WHERE id = :id"), {"uid": uuid4().hex, "id": number}
        )
    columns = ", ".join(("uid", *DECISION))
    op.execute(
        f"INSERT INTO promotion_intents ({columns}, moves_learner) "
        f"SELECT {columns}, verdict <> 'set back' FROM promotions WHERE completed_at IS NULL"
    )
    op.execute("DELETE FROM promotions WHERE completed_at IS NULL")
    with op.batch_alter_table("promotions") as table:
        table.alter_column("uid", existing_type=sa.String(32), nullable=False)
        table.alter_column("completed_at", existing_type=MOMENT, nullable=False)
        table.alter_column("model_version", existing_type=sa.Integer(), nullable=True)
        table.create_unique_constraint("uq_promotions_uid", ["uid"])


def _guard_promotions() -> None:
    """Let the database refuse to change or delete a decision."""
    refusal = "decisions are append-only"
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER promotions_no_{what.lower()} BEFORE {what} ON promotions "
                f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER promotions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for what in ("update", "delete"):
            op.execute(f"DROP TRIGGER promotions_no_{what}")
    else:
        op.execute("DROP TRIGGER promotions_append_only ON promotions")
        op.execute("DROP FUNCTION refuse_change()")
    op.execute("DELETE FROM promotions WHERE model_version IS NULL")
    with op.batch_alter_table("promotions") as table:
        table.drop_constraint("uq_promotions_uid", type_="unique")
        table.drop_column("uid")
        table.alter_column("completed_at", existing_type=MOMENT, nullable=True)
        table.alter_column("model_version", existing_type=sa.Integer(), nullable=False)
    columns = ", ".join(DECISION)
    op.execute(
        f"INSERT INTO promotions ({columns}) SELECT {columns} FROM promotion_intents WHERE model_version IS NOT NULL"
    )
    for table_name in (
        *("deliveries", "outgoing_events", "subscriptions", "part_states", "registry_versions", "registry_state"),
        "promotion_intents",
    ):
        op.drop_table(table_name)
