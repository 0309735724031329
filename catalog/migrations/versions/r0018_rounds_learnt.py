"""Note which training run learns a round first, and keep comparisons of masks."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rounds", sa.Column("learnt_from_run", sa.Integer(), nullable=True))
    _note_first_runs(op.get_bind())
    op.create_table(
        "mask_comparisons",
        sa.Column("reference", sa.String(128), primary_key=True),
        sa.Column("drawn", sa.String(128), primary_key=True),
        sa.Column("shown", sa.String(128), primary_key=True),
        sa.Column("counts", sa.JSON(), nullable=False),
    )


def _note_first_runs(connection: sa.Connection) -> None:
    """Note for each round that has ended the first run that had its last label, or a later one.

    Ids of labels are given in the order in which they were noted. A round without such a run counts as not learnt yet:
    at worst one fine-tune more is waited for.
    """
    rounds, proposals, labels, runs = (
        sa.table("rounds", sa.column("id"), sa.column("state"), sa.column("learnt_from_run")),
        sa.table("proposals", sa.column("id"), sa.column("round_id")),
        sa.table("labels", sa.column("id"), sa.column("proposal_id")),
        sa.table("training_runs", sa.column("id"), sa.column("label_ids", sa.JSON())),
    )
    learnt = sa.select(runs.c.id, runs.c.label_ids).order_by(runs.c.id)
    newest = [(run_id, max(label_ids)) for run_id, label_ids in connection.execute(learnt) if label_ids]
    last_labels = (
        sa.select(rounds.c.id, sa.func.max(labels.c.id))
        .join(proposals, proposals.c.round_id == rounds.c.id)
        .join(labels, labels.c.proposal_id == proposals.c.id)
        .where(rounds.c.state.in_(("complete", "abandoned")))
        .group_by(rounds.c.id)
    )
    for round_id, last_label in connection.execute(last_labels).all():
        first = next((run_id for run_id, label_id in newest if label_id >= last_label), None)
        connection.execute(sa.update(rounds).where(rounds.c.id == round_id).values(learnt_from_run=first))


def downgrade() -> None:
    op.drop_table("mask_comparisons")
    op.drop_column("rounds", "learnt_from_run")
