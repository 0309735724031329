"""Alembic's entry point: run the migrations on the connection that ``catalog.database`` passes."""

from alembic import context

from catalog import set_aside  # noqa: F401 - adds its table to the metadata
from catalog.records import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter columns in place
)
with context.begin_transaction():
    context.run_migrations()
