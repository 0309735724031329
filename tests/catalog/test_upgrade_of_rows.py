"""Upgrades of a catalog whose rows refer to one another, from each revision before the tables were last rebuilt."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from catalog import migrations
from catalog.database import Database
from tests.imagery.forge import BAND_NAMES

MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
# What a column without an entry gets, by its type; rows refer to the rows numbered 1 of other tables.
FILLERS: dict[type, Any] = {datetime: MOMENT, dict: {}, bytes: b"{}", str: "x", int: 1, float: 1.0, bool: False}
SOURCE = {
    "bands": [{"name": band, "path": "/scenes/a.tif", "index": 1} for band in BAND_NAMES],
    "grid": {"crs": "EPSG:32645", "transform": [30.0, 0.0, 0.0, 0.0, -30.0, 0.0], "width": 32, "height": 32},
    "offset": [0, 0],
}
VALUES: dict[str, dict[str, Any]] = {
    "scenes": {"source": SOURCE, "role": "pool", "state": "rejected"},
    "deliveries": {"state": "delivered"},
    "labels": {"mask_sha256": "0" * 64},
}


def upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def filler(column: sa.Column[Any]) -> Any:
    kind = dict if isinstance(column.type, sa.JSON) else column.type.python_type
    return FILLERS[kind]


def add_one_row_each(connection: Connection) -> set[str]:
    """Add one row to each table that is there, with all columns filled that must be; return the tables."""
    schema = sa.MetaData()
    schema.reflect(connection)
    tables = [table for table in schema.sorted_tables if table.name != "alembic_version"]
    for table in tables:
        needed = {column.name: filler(column) for column in table.c if not column.nullable}
        connection.execute(table.insert().values({**needed, **VALUES.get(table.name, {})}))
    return {table.name for table in tables}


# The first revisions with deliveries, references and withdrawn labels, and the last before subscriptions change.
@pytest.mark.parametrize("revision", ["0011", "0012", "0013", "0018"])
def test_an_upgrade_keeps_rows_that_others_refer_to(tmp_path: Path, revision: str) -> None:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    writing = database.engine.execution_options(writes=True)
    with writing.begin() as connection:
        upgrade(connection, revision)
        kept = add_one_row_each(connection) - {"watermarks"}  # which revision 0014 drops
    assert {"labels", "deliveries"} <= kept
    database.migrate()
    with writing.begin() as connection:
        assert {connection.scalar(text(f"SELECT COUNT(*) FROM {table}")) for table in kept} == {1}  # noqa: S608
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("SELECT id, uid FROM subscriptions")).one() == (1, None)
    for table in ("labels", "subscriptions"):
        with pytest.raises(IntegrityError, match="UNIQUE"), writing.begin() as connection:
            add_again(connection, table)
    database.dispose()


def add_again(connection: Connection, name: str) -> None:
    """Add two rows of the same event or uid, which the database has to refuse."""
    table = sa.Table(name, sa.MetaData(), autoload_with=connection)
    needed = {column.name: filler(column) for column in table.c if not column.nullable or column.name == "uid"}
    for number in (2, 3):
        connection.execute(table.insert().values({**needed, "id": number}))
