"""The migration that lets labels come from the map: what refers to the tables, their indexes and triggers stay."""

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from catalog.context import Catalog
from catalog.records import Label, Patch, PatchState, Proposal, ProposalReason, ProposalState, SceneRole
from catalog.withdrawal_records import Withdrawal, WithdrawnLabel
from tests.catalog.test_database import downgrade
from tests.catalog_fixtures import add_round, add_scene, label_of

BEFORE = "0017"


def test_going_back_and_forth_keeps_labels_and_loses_those_of_the_map(catalog: Catalog) -> None:
    with catalog.write() as session:
        _, patches = add_scene(session)
        _, (asked,) = add_round(session, patches[:1])
        corrected = Proposal(
            patch_id=patches[1].id, rank=0, reason=ProposalReason.CORRECTION, state=ProposalState.LABELLED
        )
        session.add(corrected)
        session.flush()
        drawn = label_of(session, asked, 900)
        of_map = label_of(session, corrected, 0, project_id=None)
        of_map.annotation_id = None
        session.add_all([drawn, of_map])
        session.flush()
        patches[1].state = PatchState.LABELLED
        session.add(Withdrawal(annotator="a", reason="shifted", actor="operator"))
        session.flush()
        session.add_all(WithdrawnLabel(label_id=label.id, withdrawal_id=1) for label in (drawn, of_map))
        kept, patch_id = drawn.id, patches[1].id
    indexes = names_of(catalog)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, BEFORE)
        columns = {column["name"]: column["nullable"] for column in inspect(connection).get_columns("labels")}
        assert (columns["project_id"], columns["annotation_id"]) == (False, False)
    catalog.database.migrate()
    assert names_of(catalog) == indexes
    with catalog.read() as session:
        assert [(label.id, label.annotation_id) for label in session.query(Label)] == [(kept, 900)]
        assert [row.label_id for row in session.query(WithdrawnLabel)] == [kept]
        assert session.get_one(Patch, patch_id).state is PatchState.UNLABELLED
    with pytest.raises(IntegrityError, match="its scene judges models"), catalog.write() as session:
        _, judging = add_scene(session, "judge", SceneRole.VALIDATION, offset_px=500)
        session.add(Proposal(patch_id=judging[0].id, rank=0, reason=ProposalReason.CORRECTION))


def names_of(catalog: Catalog) -> set[tuple[str, str]]:
    """The indexes of the two tables with their columns."""
    with catalog.read() as session:
        inspector = inspect(session.connection())
        return {
            (index["name"], str(index["column_names"]))
            for table in ("labels", "proposals")
            for index in inspector.get_indexes(table)
        }
