"""The database itself keeps the ground that judges models from being proposed, labelled or taught."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from catalog.context import Catalog
from catalog.records import Label, Proposal, Scene, SceneRole
from tests.catalog_fixtures import add_round, add_scene, label_of

JUDGING = [SceneRole.VALIDATION, SceneRole.TEST]


@pytest.fixture
def held_out(catalog: Catalog, role: SceneRole) -> int:
    """A patch of a scene of this role, beside a proposed and labelled one of the pool."""
    with catalog.write() as session:
        _, pool = add_scene(session, "pool")
        _, proposals = add_round(session, pool[:1])
        session.add(label_of(session, proposals[0], 7))
        _, patches = add_scene(session, "judge", role=role)
        return patches[0].id


@pytest.mark.parametrize("role", JUDGING)
def test_no_proposal_of_it_can_be_written(catalog: Catalog, held_out: int) -> None:
    with (
        pytest.raises(IntegrityError, match="its scene judges models: it cannot be proposed"),
        catalog.write() as session,
    ):
        session.scalars(select(Proposal)).one().patch_id = held_out


@pytest.mark.parametrize("role", JUDGING)
def test_no_label_of_it_can_be_written(catalog: Catalog, held_out: int) -> None:
    with (
        pytest.raises(IntegrityError, match="its scene judges models: it cannot be labelled"),
        catalog.write() as session,
    ):
        session.scalars(select(Label)).one().patch_id = held_out


@pytest.mark.parametrize("role", JUDGING)
def test_a_round_of_it_can_not_be_written(catalog: Catalog, held_out: int) -> None:
    with pytest.raises(IntegrityError, match="it cannot be proposed"), catalog.write() as session:
        proposal = session.scalars(select(Proposal)).one()
        session.add(Proposal(round_id=proposal.round_id, patch_id=held_out, rank=2, reason=proposal.reason))


@pytest.mark.parametrize("role", JUDGING)
def test_no_prior_outlines_of_it_can_be_written(catalog: Catalog, held_out: int, role: SceneRole) -> None:
    with pytest.raises(IntegrityError, match="prior outlines would teach it"), catalog.write() as session:
        session.scalars(select(Scene).where(Scene.role == role)).one().prior_outlines = {"layers": []}


@pytest.mark.parametrize("role", JUDGING)
def test_it_can_not_become_pool(catalog: Catalog, held_out: int, role: SceneRole) -> None:
    with pytest.raises(IntegrityError, match="the role of a scene is fixed"), catalog.write() as session:
        session.scalars(select(Scene).where(Scene.role == role)).one().role = SceneRole.POOL


def test_the_rules_hold_for_those_who_write_sql(catalog: Catalog) -> None:
    with catalog.write() as session:
        add_scene(session, "judge", role=SceneRole.TEST)
    with pytest.raises(IntegrityError, match="the role of a scene is fixed"), catalog.write() as session:
        session.execute(text("UPDATE scenes SET role = 'pool'"))
