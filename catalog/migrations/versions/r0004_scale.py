"""Large pools: scenes know how many patches they have, and what is listed or ranked is read from indices."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Not in batch mode, which on SQLite drops a table and makes it anew: other tables refer to its rows.


def upgrade() -> None:
    op.add_column("scenes", sa.Column("patch_count", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE scenes SET patch_count = (SELECT COUNT(*) FROM patches WHERE patches.scene_id = scenes.id)")
    op.create_index("ix_patches_of_scene", "patches", ["scene_id", "id"])
    op.drop_index("ix_scores_ranking", "scores")
    op.create_index("ix_scores_ranking", "scores", ["scoring_id", "measure", "value", "patch_id"])
    op.drop_index("ix_label_events_state", "label_events")
    op.create_index("ix_label_events_state", "label_events", ["state", "id"])
    op.create_index("ix_jobs_key", "jobs", ["key", "created_at"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_jobs_created_at", "jobs")
    op.drop_index("ix_jobs_key", "jobs")
    op.drop_index("ix_label_events_state", "label_events")
    op.create_index("ix_label_events_state", "label_events", ["state"])
    op.drop_index("ix_scores_ranking", "scores")
    op.create_index("ix_scores_ranking", "scores", ["scoring_id", "measure", "value"])
    op.drop_index("ix_patches_of_scene", "patches")
    op.drop_column("scenes", "patch_count")
