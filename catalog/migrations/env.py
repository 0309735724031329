"""Alembic's entry point: run the migrations on the connection that ``catalog.database`` passes."""

from alembic import context

from catalog import (  # noqa: F401 - their tables belong to Base
    access_records,
    annotator_records,
    canary_records,
    comparison_records,
    data_set_records,
    decision_records,
    prediction_uses,
    reconciliation_records,
    reference_records,
    registry_records,
    scene_requests,
    set_aside,
    webhook_records,
    withdrawal_records,
)
from catalog.records import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter columns in place
)
with context.begin_transaction():
    context.run_migrations()
