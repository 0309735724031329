"""Scorings in shards, and how steady their rankings are.

Scorings of before had no shards and get one for each scene that they reached; their steadiness is not known.
"""

import sqlalchemy as sa
from alembic import op

import catalog.records

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


# Not in batch mode, which on SQLite drops a table and makes it anew: other tables refer to its rows.


def upgrade() -> None:
    op.add_column("scorings", sa.Column("agreement", sa.JSON(), nullable=True))
    op.add_column("scores", sa.Column("first_half", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("second_half", sa.Double(), nullable=True))
    op.create_table(
        "shards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scoring_id", sa.Integer(), nullable=False),
        sa.Column("scene_id", sa.Integer(), nullable=False),
        sa.Column("first_row", sa.Integer(), nullable=False),
        sa.Column("last_row", sa.Integer(), nullable=False),
        sa.Column("patch_count", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("done_at", catalog.records.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["scene_id"], ["scenes.id"]),
        sa.ForeignKeyConstraint(["scoring_id"], ["scorings.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scoring_id", "scene_id", "first_row"),
    )
    op.execute(
        """
        INSERT INTO shards (scoring_id, scene_id, first_row, last_row, patch_count, done_at)
        SELECT scored.scoring_id, patches.scene_id, MIN(patches.row_off), MAX(patches.row_off), COUNT(*),
               MAX(COALESCE(scorings.completed_at, scorings.started_at))
        FROM (SELECT DISTINCT scoring_id, patch_id FROM scores) AS scored
        JOIN patches ON patches.id = scored.patch_id
        JOIN scorings ON scorings.id = scored.scoring_id
        GROUP BY scored.scoring_id, patches.scene_id
        """
    )


def downgrade() -> None:
    op.drop_table("shards")
    op.drop_column("scores", "second_half")
    op.drop_column("scores", "first_half")
    op.drop_column("scorings", "agreement")
