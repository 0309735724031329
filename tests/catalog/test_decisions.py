"""The record of decisions, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from catalog.context import Catalog
from catalog.decision_records import Promotion


@pytest.fixture
def decided(catalog: Catalog) -> Catalog:
    with catalog.database.write() as session:
        session.add(Promotion(model_version=1, verdict="promoted", reason="the first", actor="gate"))
    return catalog


@pytest.mark.parametrize(
    "statement",
    [
        update(Promotion).values(reason="another"),
        delete(Promotion),
        text("UPDATE promotions SET actor = 'nobody'"),
    ],
)
def test_the_database_refuses_to_change_a_decision(decided: Catalog, statement: object) -> None:
    with pytest.raises(DBAPIError, match="append-only"), decided.database.write() as session:
        session.execute(statement)
    with decided.read() as session:
        kept = session.get_one(Promotion, 1)
        assert (kept.reason, kept.actor) == ("the first", "gate")


def test_further_decisions_are_added(decided: Catalog) -> None:
    with decided.database.write() as session:
        session.add(Promotion(model_version=2, previous_version=1, verdict="moved", reason="seen", actor="somebody"))
    with decided.read() as session:
        assert [row.model_version for row in session.query(Promotion).order_by(Promotion.id)] == [1, 2]
