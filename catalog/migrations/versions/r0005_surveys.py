"""Scorings that survey the pool and spend their passes on what is contested; those of before spent them on all."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As PostgreSQL names it, and as batch mode is to call it on SQLite, where it has no name.
NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}


def upgrade() -> None:
    op.add_column("scores", sa.Column("surveyed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.drop_index("ix_scores_ranking", "scores")
    op.create_index("ix_scores_ranking", "scores", ["scoring_id", "measure", "surveyed", "value", "patch_id"])
    op.add_column("scorings", sa.Column("share", sa.Double(), nullable=False, server_default="1"))
    # Batch mode makes the table anew on SQLite; no other refers to its rows.
    with op.batch_alter_table("shards", naming_convention=NAMES) as shards:
        shards.drop_constraint("shards_scoring_id_scene_id_first_row_key", type_="unique")
        shards.add_column(sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
        shards.add_column(sa.Column("passes", sa.Integer(), nullable=False, server_default="0"))
        shards.add_column(sa.Column("evaluated", sa.Boolean(), nullable=False, server_default=sa.true()))
        shards.add_column(sa.Column("contested_from", sa.JSON(), nullable=True))
        shards.create_unique_constraint(
            "shards_scoring_id_scene_id_stage_first_row_key", ["scoring_id", "scene_id", "stage", "first_row"]
        )
    op.execute(
        "UPDATE shards SET passes = (SELECT scorings.passes FROM scorings WHERE scorings.id = shards.scoring_id)"
    )


def downgrade() -> None:
    # What was surveyed has to be scored anew, by all passes; its maps stay as they are.
    op.execute(
        "UPDATE scorings SET completed_at = NULL, seconds = NULL, agreement = NULL "
        "WHERE id IN (SELECT scoring_id FROM shards WHERE passes = 0)"
    )
    op.execute("DELETE FROM scores WHERE scoring_id IN (SELECT scoring_id FROM shards WHERE passes = 0)")
    op.execute("DELETE FROM shards WHERE scoring_id IN (SELECT scoring_id FROM shards WHERE passes = 0)")
    with op.batch_alter_table("shards", naming_convention=NAMES) as shards:
        shards.drop_constraint("shards_scoring_id_scene_id_stage_first_row_key", type_="unique")
        shards.drop_column("contested_from")
        shards.drop_column("evaluated")
        shards.drop_column("passes")
        shards.drop_column("stage")
        shards.create_unique_constraint(
            "shards_scoring_id_scene_id_first_row_key", ["scoring_id", "scene_id", "first_row"]
        )
    op.drop_column("scorings", "share")
    op.drop_index("ix_scores_ranking", "scores")
    op.create_index("ix_scores_ranking", "scores", ["scoring_id", "measure", "value", "patch_id"])
    op.drop_column("scores", "surveyed")
