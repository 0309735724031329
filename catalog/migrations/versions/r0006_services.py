"""One row for the installation, partial proposals, cancelled jobs, intents of promotions, and less that is kept."""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}
_PAGE = 100  # bodies converted together: some are megabytes

events = sa.table(
    "label_events",
    sa.column("id", sa.BigInteger),
    sa.column("project_id", sa.BigInteger),
    sa.column("task_id", sa.BigInteger),
    sa.column("annotation_id", sa.BigInteger),
    sa.column("proposal_id", sa.Integer),
    sa.column("annotation_created_at", sa.DateTime(timezone=True)),
    sa.column("body", sa.LargeBinary),
)
proposals = sa.table(
    "proposals",
    sa.column("id", sa.Integer),
    sa.column("uid", sa.String),
    sa.column("project_id", sa.BigInteger),
    sa.column("task_id", sa.BigInteger),
)
runs = sa.table("training_runs", sa.column("id", sa.BigInteger), sa.column("uid", sa.String))


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("class_scheme", sa.JSON(), nullable=True),
        sa.Column("label_studio_project_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("rounds", sa.Column("measure", sa.String(32), nullable=True))
    # These strategies are named after the measure that they rank by; `random` and `recipe` have none.
    op.execute(
        "UPDATE rounds SET measure = strategy WHERE strategy IN ('entropy_top10', 'entropy_mean', 'mutual_information')"
    )
    op.add_column("proposals", sa.Column("region", sa.JSON(), nullable=True))
    op.add_column("promotions", sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE promotions SET completed_at = decided_at")
    op.add_column("jobs", sa.Column("cancel_requested", sa.Boolean(), nullable=False, server_default=sa.false()))
    _name_runs()
    op.add_column("label_events", sa.Column("proposal_id", sa.Integer(), nullable=True))
    op.add_column("label_events", sa.Column("annotation_created_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_label_events_proposal", "label_events", ["proposal_id"])
    _identify_events()
    _convert_bodies(zlib.compress)


def downgrade() -> None:
    _convert_bodies(zlib.decompress)
    op.drop_index("ix_label_events_proposal", "label_events")
    op.drop_column("label_events", "annotation_created_at")
    op.drop_column("label_events", "proposal_id")
    with op.batch_alter_table("training_runs", naming_convention=NAMES) as table:
        table.drop_constraint("training_runs_uid_key", type_="unique")
        table.drop_column("checkpoint_step")
        table.drop_column("uid")
    # States that the older release does not know become the nearest that it does.
    op.execute("UPDATE training_runs SET state = 'killed' WHERE state = 'interrupted'")
    op.execute("UPDATE scenes SET state = 'rejected', error = 'removed' WHERE state = 'removed'")
    op.execute("UPDATE jobs SET state = 'failed', error = 'cancelled' WHERE state = 'cancelled'")
    op.execute("DELETE FROM jobs WHERE kind IN ('remove_tasks', 'remove_superseded')")
    op.execute("UPDATE rounds SET state = 'failed', error = 'abandoned' WHERE state = 'abandoned'")
    op.execute("UPDATE proposals SET state = 'withdrawn' WHERE state = 'abandoned'")
    op.execute("UPDATE patches SET state = 'labelled' WHERE state = 'partly labelled'")
    op.drop_column("jobs", "cancel_requested")
    op.drop_column("promotions", "completed_at")
    op.drop_column("proposals", "region")
    op.drop_column("rounds", "measure")
    op.drop_table("installation")


def _name_runs() -> None:
    op.add_column("training_runs", sa.Column("checkpoint_step", sa.Integer(), nullable=True))
    op.add_column("training_runs", sa.Column("uid", sa.String(32), nullable=True))
    connection = op.get_bind()
    for run_id in connection.execute(sa.select(runs.c.id)).scalars().all():
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(uid=uuid4().hex))
    with op.batch_alter_table("training_runs", naming_convention=NAMES) as table:
        table.alter_column("uid", existing_type=sa.String(32), nullable=False)
        table.create_unique_constraint("training_runs_uid_key", ["uid"])


def _identify_events() -> None:
    """Note in each event which proposal and which annotation it is about; a deletion is about what stood before it."""
    connection, after = op.get_bind(), 0
    uids: dict[str, int] = {
        uid: row_id for row_id, uid in connection.execute(sa.select(proposals.c.id, proposals.c.uid))
    }
    tasks: dict[tuple[int, int], int] = {
        (project_id, task_id): row_id
        for row_id, project_id, task_id in connection.execute(
            sa.select(proposals.c.id, proposals.c.project_id, proposals.c.task_id).order_by(proposals.c.id)
        )
    }
    annotations: dict[tuple[int, int], tuple[int | None, datetime | None]] = {}
    page = sa.select(events).order_by(events.c.id).limit(_PAGE)
    while rows := connection.execute(page.where(events.c.id > after)).all():
        for row in rows:
            if row.task_id is None:
                identity = annotations.get((row.project_id, row.annotation_id), (None, None))
            elif row.annotation_id is None:
                identity = tasks.get((row.project_id, row.task_id)), None
            else:
                uid, created_at = _told_by(row.body)
                identity = uids.get(uid or ""), created_at
                annotations[row.project_id, row.annotation_id] = identity
            values = dict(zip(("proposal_id", "annotation_created_at"), identity, strict=True))
            connection.execute(sa.update(events).where(events.c.id == row.id).values(values))
        after = rows[-1].id


def _told_by(body: bytes) -> tuple[str | None, datetime | None]:
    """Read the proposal's uid and the annotation's creation from the body of an event."""
    content: Any = {}
    with suppress(ValueError, RecursionError):
        content = json.loads(body)
    uid, created_at = None, None
    with suppress(KeyError, TypeError, AttributeError, ValueError, OverflowError):
        uid = str(content["task"]["data"]["proposal"])
    with suppress(KeyError, TypeError, AttributeError, ValueError, OverflowError):
        created_at = datetime.fromisoformat(content["annotation"]["created_at"]).astimezone(UTC)
    return uid, created_at


def _convert_bodies(convert: Callable[[bytes], bytes]) -> None:
    connection, after = op.get_bind(), 0
    page = sa.select(events.c.id, events.c.body).order_by(events.c.id).limit(_PAGE)
    while rows := connection.execute(page.where(events.c.id > after)).all():
        for event_id, body in rows:
            connection.execute(sa.update(events).where(events.c.id == event_id).values(body=convert(body)))
        after = rows[-1].id
