"""Add the installation row, partial proposals, cancelled jobs and promotion intents; compress event bodies."""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCORED_ALIKE = ["model_version", "passes", "seed"]
NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}
_PAGE = 100  # bodies converted per query: some are megabytes

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
    _rename_screening("surveyed", "screening")
    for half in ("first_half", "second_half"):
        op.drop_column("scores", half)
    op.alter_column("scorings", "share", new_column_name="shortlist_share")
    op.add_column("scorings", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    _drop_unique_scoring()
    where = sa.text("removed_at IS NULL")
    op.create_index(
        "ix_scorings_one_kept", "scorings", SCORED_ALIKE, unique=True, sqlite_where=where, postgresql_where=where
    )
    with op.batch_alter_table("shards") as shards:
        shards.add_column(sa.Column("kind", sa.String(32), nullable=False, server_default="monte_carlo"))
        shards.alter_column("evaluated", new_column_name="shortlist_planned")
        shards.alter_column("contested_from", new_column_name="shortlist_from")
    op.execute("UPDATE shards SET kind = 'screening' WHERE passes = 0")
    op.drop_column("shards", "passes")
    op.create_index("ix_scores_patch", "scores", ["patch_id"])
    op.create_index("ix_labels_patch", "labels", ["patch_id"])
    _convert_bodies(zlib.compress)


def _decompress(body: bytes) -> bytes:
    """Later releases store bodies with zstd."""
    return zstandard.decompress(body) if body.startswith(zstandard.FRAME_HEADER) else zlib.decompress(body)


def downgrade() -> None:
    _convert_bodies(_decompress)
    op.drop_index("ix_labels_patch", "labels")
    op.drop_index("ix_scores_patch", "scores")
    op.drop_index("ix_label_events_proposal", "label_events")
    op.drop_column("label_events", "annotation_created_at")
    op.drop_column("label_events", "proposal_id")
    op.add_column("shards", sa.Column("passes", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE shards SET passes = (SELECT scorings.passes FROM scorings WHERE scorings.id = shards.scoring_id) "
        "WHERE kind = 'monte_carlo'"
    )
    with op.batch_alter_table("shards") as shards:
        shards.drop_column("kind")
        shards.alter_column("shortlist_planned", new_column_name="evaluated")
        shards.alter_column("shortlist_from", new_column_name="contested_from")
    _merge_scored_alike()
    op.drop_index("ix_scorings_one_kept", "scorings")
    op.drop_column("scorings", "removed_at")
    op.alter_column("scorings", "shortlist_share", new_column_name="share")
    _add_unique_scoring()
    for half in ("first_half", "second_half"):
        op.add_column("scores", sa.Column(half, sa.Double(), nullable=True))
    _rename_screening("screening", "surveyed")
    with op.batch_alter_table("training_runs", naming_convention=NAMES) as table:
        table.drop_constraint("training_runs_uid_key", type_="unique")
        table.drop_column("checkpoint_step")
        table.drop_column("uid")
    # The older release lacks these states: map each to the nearest that it has.
    op.execute("UPDATE training_runs SET state = 'killed' WHERE state = 'interrupted'")
    op.execute("UPDATE scenes SET state = 'rejected', error = 'removed' WHERE state = 'removed'")
    op.execute("UPDATE jobs SET state = 'failed', error = 'cancelled' WHERE state = 'cancelled'")
    op.execute("DELETE FROM jobs WHERE kind IN ('remove_tasks', 'remove_superseded')")
    op.execute("UPDATE rounds SET state = 'failed', error = 'abandoned' WHERE state = 'abandoned'")
    op.execute("UPDATE proposals SET state = 'withdrawn' WHERE state = 'abandoned'")
    op.execute("UPDATE patches SET state = 'labelled' WHERE state = 'partly labelled'")
    op.drop_column("jobs", "cancel_requested")
    op.execute("DELETE FROM promotions WHERE completed_at IS NULL")
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
    """Store the proposal and the annotation of each event; a deletion refers to what had its id before it."""
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
                uid, created_at = _identity_in(row.body)
                identity = uids.get(uid or ""), created_at
                annotations[row.project_id, row.annotation_id] = identity
            values = dict(zip(("proposal_id", "annotation_created_at"), identity, strict=True))
            connection.execute(sa.update(events).where(events.c.id == row.id).values(values))
        after = rows[-1].id


def _identity_in(body: bytes) -> tuple[str | None, datetime | None]:
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


def _rename_screening(before: str, after: str) -> None:
    op.drop_index("ix_scores_ranking", "scores")
    op.alter_column("scores", before, new_column_name=after)
    op.create_index("ix_scores_ranking", "scores", ["scoring_id", "measure", after, "value", "patch_id"])


def _drop_unique_scoring() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_scorings_anew("shortlist_share", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    else:
        op.drop_constraint("scorings_model_version_passes_seed_key", "scorings", type_="unique")


def _add_unique_scoring() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_scorings_anew("share", sa.UniqueConstraint(*SCORED_ALIKE))
    else:
        op.create_unique_constraint("scorings_model_version_passes_seed_key", "scorings", SCORED_ALIKE)


def _make_scorings_anew(share: str, *changes: sa.Column | sa.UniqueConstraint) -> None:
    """Replace the table on SQLite, which cannot change a constraint.

    Not in batch mode, which renames the new table: rows that refer to this one would then break their foreign keys.
    """
    columns = [
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("passes", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("agreement", sa.JSON(), nullable=True),
        sa.Column(share, sa.Double(), nullable=False, server_default="1"),
    ]
    names = ", ".join(item.name for item in (*columns, *changes) if isinstance(item, sa.Column))
    op.execute("PRAGMA defer_foreign_keys = ON")  # checked at the commit, when the rows are there again
    op.execute("CREATE TEMPORARY TABLE former_scorings AS SELECT * FROM scorings")
    op.drop_table("scorings")
    op.create_table("scorings", *columns, *changes, sa.PrimaryKeyConstraint("id"))
    op.execute(f"INSERT INTO scorings ({names}) SELECT {names} FROM former_scorings")
    op.execute("DROP TABLE former_scorings")


def _merge_scored_alike() -> None:
    """Leave one scoring of each kind, with the rounds of all of them; finish removals that were under way."""
    for table in ("scores", "shards"):
        op.execute(f"DELETE FROM {table} WHERE scoring_id IN (SELECT id FROM scorings WHERE removed_at IS NOT NULL)")
    newest_alike = (
        "SELECT MAX(alike.id) FROM scorings AS one JOIN scorings AS alike ON alike.model_version = one.model_version "
        "AND alike.passes = one.passes AND alike.seed = one.seed WHERE one.id = "
    )
    op.execute(f"UPDATE rounds SET scoring_id = ({newest_alike} rounds.scoring_id) WHERE scoring_id IS NOT NULL")
    op.execute(f"DELETE FROM scorings WHERE id < ({newest_alike} scorings.id)")
    op.execute("UPDATE scorings SET completed_at = NULL, seconds = NULL WHERE removed_at IS NOT NULL")


def _convert_bodies(convert: Callable[[bytes], bytes]) -> None:
    connection, after = op.get_bind(), 0
    page = sa.select(events.c.id, events.c.body).order_by(events.c.id).limit(_PAGE)
    while rows := connection.execute(page.where(events.c.id > after)).all():
        for event_id, body in rows:
            connection.execute(sa.update(events).where(events.c.id == event_id).values(body=convert(body)))
        after = rows[-1].id
