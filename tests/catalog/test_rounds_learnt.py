"""Which labels have to be learnt before the next round opens by itself."""

import pytest
from sqlalchemy import text

from catalog import labels, rounds, training
from catalog.context import Catalog
from catalog.records import Proposal, Round, RoundState, RunState, RunTrigger
from services.rounds import abandon
from tests.catalog.test_database import downgrade
from tests.catalog_fixtures import add_round, add_scene, label_of


@pytest.fixture
def proposals(catalog: Catalog) -> list[Proposal]:
    """A round of two patches."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, made = add_round(session, patches[:2])
    return made


def answer(catalog: Catalog, proposal: Proposal, *, skipped: bool = False) -> None:
    with catalog.database.write() as session:
        locked = session.get_one(Proposal, proposal.id)
        if skipped:
            labels.refresh_states(session, locked, skipped=True)
        else:
            labels.store(session, label_of(session, locked, proposal.id))


def delete(catalog: Catalog, proposal: Proposal) -> None:
    with catalog.database.write() as session:
        labels.supersede(session, proposal.project_id, proposal.id)
        labels.refresh_states(session, session.get_one(Proposal, proposal.id), skipped=False)


def run(catalog: Catalog, state: RunState) -> None:
    with catalog.database.write() as session:
        begun = training.begin_run(session, RunTrigger.ROUND)
        if state is not RunState.OPEN:
            training.end_run(session, begun.id, state)


def must_learn(catalog: Catalog) -> bool:
    with catalog.read() as session:
        return training.must_learn_first(session)


def test_what_a_round_taught_is_learnt_and_no_correction_after_it(catalog: Catalog, proposals: list[Proposal]) -> None:
    for proposal in proposals:
        answer(catalog, proposal)
    assert must_learn(catalog)
    run(catalog, RunState.FINISHED)
    assert not must_learn(catalog)
    answer(catalog, proposals[0])
    assert not must_learn(catalog)
    delete(catalog, proposals[1])  # the round is open again, and complete again with the next label
    answer(catalog, proposals[1])
    assert not must_learn(catalog)


def test_labels_that_are_corrected_before_they_are_learnt_still_count(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    for proposal in [*proposals, *proposals]:
        answer(catalog, proposal)
    assert must_learn(catalog)


@pytest.mark.parametrize("ended", [RunState.FAILED, RunState.KILLED, RunState.OPEN])
def test_only_a_run_that_finished_has_learnt(catalog: Catalog, proposals: list[Proposal], ended: RunState) -> None:
    for proposal in proposals:
        answer(catalog, proposal)
    run(catalog, ended)
    answer(catalog, proposals[0])
    assert must_learn(catalog)


def test_a_run_that_began_before_the_round_was_complete_has_not_learnt_it(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    answer(catalog, proposals[0])
    run(catalog, RunState.OPEN)
    answer(catalog, proposals[1])
    with catalog.database.write() as session:
        training.end_run(session, 1, RunState.FINISHED)
    assert must_learn(catalog)
    run(catalog, RunState.FINISHED)
    assert not must_learn(catalog)


def test_nothing_is_waited_for_if_nothing_stands(catalog: Catalog, proposals: list[Proposal]) -> None:
    answer(catalog, proposals[0])
    delete(catalog, proposals[0])
    for proposal in proposals:
        answer(catalog, proposal, skipped=True)
    assert not must_learn(catalog)


def test_labels_of_an_abandoned_round_are_learnt_too(catalog: Catalog, proposals: list[Proposal]) -> None:
    answer(catalog, proposals[0])
    with catalog.database.write() as session:
        assert rounds.is_unfinished(session)
        abandon(session, proposals[0].round_id)
    assert must_learn(catalog)
    run(catalog, RunState.FINISHED)
    assert not must_learn(catalog)


def test_rounds_of_an_older_database_learn_by_which_run_they_were_learnt(catalog: Catalog) -> None:
    """Round 1 has the labels 1 and 2, round 2 the label 3; runs had the labels 1, then 1 to 3, then 1 to 3 again."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        asked = [add_round(session, patches[:2])[1], add_round(session, patches[2:3], first_task=3)[1]]
        add_round(session, patches[3:4], first_task=4)
    answer(catalog, asked[0][0])
    run(catalog, RunState.FAILED)
    answer(catalog, asked[0][1])
    answer(catalog, asked[1][0])
    run(catalog, RunState.FINISHED)
    run(catalog, RunState.FINISHED)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0017")
        assert "learnt_from_run" not in connection.execute(text("SELECT * FROM rounds")).keys()  # noqa: SIM118
    catalog.database.migrate()
    with catalog.read() as session:
        found = [(item.state, item.learnt_from_run) for item in session.query(Round).order_by(Round.id)]
    assert found == [(RoundState.COMPLETE, 2), (RoundState.COMPLETE, 2), (RoundState.OPEN, None)]
