"""Abandoning a round: what was drawn stays, the rest may be proposed again, and the next round is not held up."""

import pytest

from catalog import jobs, labels
from catalog import rounds as stored_rounds
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Job, JobKind, JobState, Patch, PatchState, Proposal, ProposalState, Round, RoundState
from catalog.settings import Strategy
from services import rounds
from tests.catalog_fixtures import add_round, add_scene, label_of


def test_what_was_drawn_stays_and_the_rest_may_be_proposed_again(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, (answered, waiting) = add_round(session, patches[:2])
        labels.store(session, label_of(session, answered, 1))
    with catalog.database.write() as session:
        rounds.abandon(session, opened.id)
    with catalog.read() as session:
        assert session.get_one(Round, opened.id).state is RoundState.ABANDONED
        assert session.get_one(Proposal, answered.id).state is ProposalState.LABELLED
        assert session.get_one(Patch, answered.patch_id).state is PatchState.LABELLED
        assert session.get_one(Proposal, waiting.id).state is ProposalState.ABANDONED
        assert session.get_one(Patch, waiting.patch_id).state is PatchState.UNLABELLED
        removal = jobs.last_of(session, JobKind.REMOVE_TASKS, str(opened.id))
    assert removal is not None
    assert removal.subject == {"round_id": opened.id}


def test_a_drawing_that_arrives_after_all_becomes_a_label(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, (proposal,) = add_round(session, patches[:1])
        rounds.abandon(session, opened.id)
    with catalog.database.write() as session:
        labels.store(session, label_of(session, session.get_one(Proposal, proposal.id), 1))
        assert session.get_one(Proposal, proposal.id).state is ProposalState.LABELLED
        assert session.get_one(Patch, proposal.patch_id).state is PatchState.LABELLED
        assert session.get_one(Round, opened.id).state is RoundState.ABANDONED
        labels.supersede(session, 15, 1)
        labels.refresh_states(session, session.get_one(Proposal, proposal.id), skipped=False)
        assert session.get_one(Proposal, proposal.id).state is ProposalState.ABANDONED


@pytest.mark.parametrize("state", [RoundState.COMPLETE, RoundState.FAILED, RoundState.ABANDONED])
def test_a_round_that_has_ended_cannot_be_abandoned(catalog: Catalog, state: RoundState) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        ended, _ = add_round(session, patches[:1])
        ended.state = state
    with pytest.raises(ConflictError, match=f"is {state.value} already"), catalog.database.write() as session:
        rounds.abandon(session, ended.id)
    with pytest.raises(NotFoundError, match="no round 99"), catalog.database.write() as session:
        rounds.abandon(session, 99)


def test_a_round_that_is_still_being_chosen_chooses_nothing_any_more(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened = rounds.open_round(session, catalog.settings, Strategy.RANDOM, 2)
        choosing = jobs.last_of(session, JobKind.PROPOSE_ROUND, str(opened.id))
        assert choosing is not None
        rounds.abandon(session, opened.id)
    with catalog.database.write() as session:
        assert session.get_one(Job, choosing.id).state is JobState.CANCELLED
        choice = stored_rounds.Choice(patches[0].id, next(iter(stored_rounds.ProposalReason)), None)
        stored_rounds.store_choices(session, opened.id, [choice])
        assert session.query(Proposal).count() == 0
        assert session.get_one(Patch, patches[0].id).state is PatchState.UNLABELLED


def test_tasks_that_a_publication_made_meanwhile_are_removed_after_it(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, (proposal,) = add_round(session, patches[:1])
        opened.state, proposal.state, proposal.task_id = RoundState.PUBLISHING, ProposalState.CHOSEN, None
        rounds.abandon(session, opened.id)
        first = jobs.last_of(session, JobKind.REMOVE_TASKS, str(opened.id))
        assert first is not None
        jobs.claim(session, first.id)
        jobs.finish(session, first.id, 1)
    with catalog.database.write() as session:  # what the publication does that was under way
        stored_rounds.mark_published(session, proposal.id, 15, 7, "http://127.0.0.1:8000")
        stored_rounds.mark_open(session, opened.id)
    with catalog.read() as session:
        assert session.get_one(Proposal, proposal.id).state is ProposalState.ABANDONED
        assert session.get_one(Round, opened.id).state is RoundState.ABANDONED
        assert jobs.is_open(session, JobKind.REMOVE_TASKS)


def test_a_task_noted_after_the_removal_is_removed_even_if_the_publication_ends_there(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, (proposal,) = add_round(session, patches[:1])
        opened.state, proposal.state, proposal.task_id = RoundState.PUBLISHING, ProposalState.CHOSEN, None
        rounds.abandon(session, opened.id)
        first = jobs.last_of(session, JobKind.REMOVE_TASKS, str(opened.id))
        assert first is not None
        jobs.claim(session, first.id)
        jobs.finish(session, first.id, 1)
    with catalog.database.write() as session:
        stored_rounds.mark_published(session, proposal.id, 15, 7, "http://127.0.0.1:8000")
        assert jobs.is_open(session, JobKind.REMOVE_TASKS)


def test_a_publication_that_was_given_up_does_not_hold_up_the_next_round(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        stuck, _ = add_round(session, patches[:1])
        stuck.state = RoundState.PUBLISHING
    with pytest.raises(ConflictError, match="still publishing"), catalog.database.write() as session:
        rounds.open_round(session, catalog.settings, Strategy.RANDOM, 2)
    with catalog.database.write() as session:
        stored_rounds.mark_failed(session, stuck.id, "Label Studio refused")
        assert rounds.open_round(session, catalog.settings, Strategy.RANDOM, 2).id != stuck.id
