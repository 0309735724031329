"""Index what is looked for at each label event, each correction, and each look for changes."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_labels_proposal": ("labels", ["proposal_id"]),
    "ix_labels_annotation": ("labels", ["project_id", "annotation_id"]),
    "ix_label_events_uid": ("label_events", ["annotation_uid"]),
    "ix_proposals_state": ("proposals", ["state"]),
}


def upgrade() -> None:
    for name, (table, columns) in _INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
