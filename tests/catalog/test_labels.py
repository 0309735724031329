"""The ledger and the labels that follow from it: whatever comes twice, late, out of order or not at all."""

import threading
from datetime import datetime, timedelta

import pytest

from catalog import jobs, labels, rounds
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import (
    EventState,
    JobKind,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalState,
    Round,
    RoundState,
)
from labeling.events import AnnotationDeleted, AnnotationSaved, ProjectDeleted, TaskDeleted, UnreadableEvent
from labeling.events import LabelEvent as ParsedEvent
from services import label_events
from tests.catalog_fixtures import NOON, PROJECT_ID, add_round, add_scene, deletion_of, label_of


def saved(
    annotation_id: int = 1, minutes: float = 0, *, created: float = 0, task_id: int = 1, proposal: str | None = None
) -> AnnotationSaved:
    """An annotation saved some minutes after noon, and created some minutes after noon."""
    return AnnotationSaved(
        action="ANNOTATION_CREATED",
        annotation_id=annotation_id,
        annotation_uid=None,
        annotation_created_at=NOON + timedelta(minutes=created),
        annotation_updated_at=NOON + timedelta(minutes=minutes),
        task_id=task_id,
        project_id=PROJECT_ID,
        proposal=proposal,
        was_cancelled=False,
        result=[],
        drawn_by=None,
        lead_time_s=None,
    )


def deleted(annotation_id: int = 1) -> AnnotationDeleted:
    return AnnotationDeleted(annotation_id, PROJECT_ID)


def task_deleted(task_id: int = 1) -> TaskDeleted:
    return TaskDeleted(task_id, PROJECT_ID)


def record(catalog: Catalog, *events: ParsedEvent) -> list[int]:
    with catalog.database.write() as session:
        return [row.id for row in label_events.record(session, events, b"the body", "webhook")]


def settle(catalog: Catalog, event_id: int, state: EventState = EventState.APPLIED) -> None:
    with catalog.database.write() as session:
        labels.settle(session.get_one(LabelEvent, event_id), state)


@pytest.fixture
def proposals(catalog: Catalog) -> list[Proposal]:
    """Four published proposals of one open round, tasks 1 to 4."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, made = add_round(session, patches[:4])
    return made


def store(catalog: Catalog, proposal: Proposal, annotation_id: int = 1, minutes: float = 0) -> int:
    with catalog.database.write() as session:
        label = label_of(session, session.get_one(Proposal, proposal.id), annotation_id, minutes)
        labels.store(session, label)
        return label.id


def states(catalog: Catalog, proposal: Proposal) -> tuple[ProposalState, PatchState, RoundState]:
    with catalog.read() as session:
        found = session.get_one(Proposal, proposal.id)
        return found.state, session.get_one(Patch, found.patch_id).state, rounds.get(session, found.round_id).state


def standing(catalog: Catalog, proposal: Proposal) -> list[int]:
    with catalog.read() as session:
        return [label.id for label in labels.current(session, proposal.patch_id)]


# The ledger


def test_an_event_is_stored_as_it_came_with_a_job_to_ingest_it(catalog: Catalog) -> None:
    with catalog.write() as session:
        (row,) = label_events.record(session, [saved()], b"the body", "webhook")
        (job,) = session.info["enqueued"]
    assert (job.kind, job.subject) == (JobKind.INGEST_LABEL, {"event_id": row.id})
    with catalog.read() as session:
        event = session.get_one(LabelEvent, row.id)
        assert (event.state, event.origin, event.task_id, event.body) == (
            EventState.RECEIVED,
            "webhook",
            1,
            b"the body",
        )
        assert event.annotation_updated_at == NOON


def test_a_repeat_is_nothing_even_in_one_body(catalog: Catalog) -> None:
    assert len(record(catalog, saved(), saved())) == 1
    assert record(catalog, saved()) == []
    assert len(record(catalog, saved(minutes=1))) == 1
    assert len(record(catalog, saved(annotation_id=2))) == 1


def test_the_same_event_from_many_threads_is_stored_once(catalog: Catalog) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(record(catalog, saved()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_a_deletion_is_stored_once_for_each_annotation_that_had_the_id(catalog: Catalog) -> None:
    record(catalog, saved())
    assert len(record(catalog, deleted())) == 1
    assert record(catalog, deleted()) == []
    record(catalog, saved(created=5, minutes=5))  # Label Studio has given the id away again
    (event_id,) = record(catalog, deleted())
    with catalog.read() as session:
        assert session.get_one(LabelEvent, event_id).annotation_created_at == NOON + timedelta(minutes=5)


def test_a_deletion_is_about_what_had_the_id_when_it_was_received(catalog: Catalog, proposals: list[Proposal]) -> None:
    record(catalog, saved(proposal=proposals[0].uid))
    (event_id,) = record(catalog, deleted())
    record(catalog, saved(created=5, minutes=5, proposal=proposals[1].uid))
    with catalog.read() as session:
        event = session.get_one(LabelEvent, event_id)
        assert (event.proposal_id, event.annotation_created_at) == (proposals[0].id, NOON)


def test_an_unreadable_event_is_stored_as_failed_once_and_calls_for_no_job(catalog: Catalog) -> None:
    unreadable = UnreadableEvent("ANNOTATION_CREATED", "Field 'annotation.result' is null.", "c0ffee", PROJECT_ID)
    with catalog.database.write() as session:
        (row,) = label_events.record(session, [unreadable], b"the body", "webhook")
        assert jobs.enqueued(session) == []
    with catalog.read() as session:
        event = session.get_one(LabelEvent, row.id)
        assert (event.state, event.detail) == (EventState.FAILED, "Field 'annotation.result' is null.")
    assert record(catalog, unreadable) == []


def test_a_deleted_project_is_recorded_once_for_the_tasks_that_it_had(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    assert len(record(catalog, ProjectDeleted(PROJECT_ID))) == 1
    assert record(catalog, ProjectDeleted(PROJECT_ID)) == []
    with catalog.database.write() as session:  # a new Label Studio has counted up to the same id
        add_round(session, [session.get_one(Patch, proposals[0].patch_id)], first_task=1)
    assert len(record(catalog, ProjectDeleted(PROJECT_ID))) == 1


def test_a_deletion_that_comes_first_is_kept(catalog: Catalog) -> None:
    assert len(record(catalog, deleted())) == 1
    assert record(catalog, deleted()) == []


def test_a_task_id_that_is_given_away_again_can_be_deleted_again(catalog: Catalog, proposals: list[Proposal]) -> None:
    assert len(record(catalog, task_deleted())) == 1
    assert record(catalog, task_deleted()) == []
    with catalog.database.write() as session:
        _, (reused,) = add_round(session, [session.get_one(Patch, proposals[0].patch_id)], first_task=1)
        assert labels.proposal_of_task(session, PROJECT_ID, 1) is reused
    assert len(record(catalog, task_deleted())) == 1


def test_a_copied_task_is_known_by_what_its_annotations_carry(catalog: Catalog, proposals: list[Proposal]) -> None:
    record(catalog, saved(task_id=99, proposal=proposals[2].uid))
    with catalog.read() as session:
        found = labels.proposal_of_task(session, PROJECT_ID, 99)
        assert found is not None
        assert found.id == proposals[2].id


def test_a_strangers_task_is_recorded_once(catalog: Catalog) -> None:
    assert len(record(catalog, task_deleted(99))) == 1
    assert record(catalog, task_deleted(99)) == []


# Replay


def test_only_a_failed_event_is_replayed(catalog: Catalog) -> None:
    (event_id,) = record(catalog, saved())
    with pytest.raises(ConflictError, match="is received; only a failed"), catalog.database.write() as session:
        labels.replay(session, event_id)
    with pytest.raises(NotFoundError, match="no label event 99"), catalog.database.write() as session:
        labels.replay(session, 99)
    with catalog.database.write() as session:
        labels.mark_failed(session, event_id, "malformed RLE")
    with catalog.database.write() as session:
        event = labels.replay(session, event_id)
        assert (event.state, event.detail) == (EventState.RECEIVED, None)


def test_an_event_that_was_dealt_with_does_not_fail_any_more(catalog: Catalog) -> None:
    (event_id,) = record(catalog, saved())
    settle(catalog, event_id)
    with catalog.database.write() as session:
        labels.mark_failed(session, event_id, "too late")
        assert session.get_one(LabelEvent, event_id).state is EventState.APPLIED


# Labels


def test_a_label_answers_its_proposal_and_the_last_answer_completes_the_round(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    for number, proposal in enumerate(proposals[:3], start=1):
        store(catalog, proposal, number)
    assert states(catalog, proposals[0]) == (ProposalState.LABELLED, PatchState.LABELLED, RoundState.OPEN)
    store(catalog, proposals[3], 4)
    assert states(catalog, proposals[3]) == (ProposalState.LABELLED, PatchState.LABELLED, RoundState.COMPLETE)


def test_an_update_supersedes_and_keeps_the_old_row(catalog: Catalog, proposals: list[Proposal]) -> None:
    first = store(catalog, proposals[0], minutes=0)
    second = store(catalog, proposals[0], minutes=5)
    assert standing(catalog, proposals[0]) == [second]
    with catalog.read() as session:
        assert session.get_one(Label, first).superseded_at is not None


def test_two_annotators_of_one_patch_stand_side_by_side_the_last_received_first(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    """Whatever Label Studio's clock says: it may have been ahead when the first was saved."""
    early = store(catalog, proposals[0], annotation_id=1, minutes=9)
    late = store(catalog, proposals[0], annotation_id=2, minutes=3)
    assert standing(catalog, proposals[0]) == [late, early]
    with catalog.database.write() as session:
        assert [label.id for label in labels.supersede(session, PROJECT_ID, 2)] == [late]
        labels.refresh_states(session, session.get_one(Proposal, proposals[0].id), skipped=False)
    assert standing(catalog, proposals[0]) == [early]
    assert states(catalog, proposals[0])[:2] == (ProposalState.LABELLED, PatchState.LABELLED)


def test_a_skip_is_an_answer_without_a_label(catalog: Catalog, proposals: list[Proposal]) -> None:
    with catalog.database.write() as session:
        labels.refresh_states(session, session.get_one(Proposal, proposals[0].id), skipped=True)
    assert states(catalog, proposals[0]) == (ProposalState.SKIPPED, PatchState.SKIPPED, RoundState.OPEN)


def test_a_deleted_annotation_puts_its_task_back_before_the_annotators(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    for number, proposal in enumerate(proposals, start=1):
        store(catalog, proposal, number)
    with catalog.database.write() as session:
        labels.supersede(session, PROJECT_ID, 1)
        labels.refresh_states(session, session.get_one(Proposal, proposals[0].id), skipped=False)
    assert states(catalog, proposals[0]) == (ProposalState.PUBLISHED, PatchState.PROPOSED, RoundState.OPEN)


def test_a_skip_stands_until_its_annotation_is_changed_or_deleted(catalog: Catalog, proposals: list[Proposal]) -> None:
    uid = proposals[0].uid

    def apply(event: AnnotationSaved, detail: str | None) -> None:
        (event_id,) = record(catalog, event)
        with catalog.database.write() as session:
            labels.settle(session.get_one(LabelEvent, event_id), EventState.APPLIED, detail)

    def skipped() -> bool:
        with catalog.database.write() as session:
            return labels.is_skipped(session, session.get_one(Proposal, proposals[0].id))

    apply(saved(1, 1, proposal=uid), labels.SKIPPED)
    assert skipped()
    apply(saved(1, 2, proposal=uid), None)
    assert not skipped()
    apply(saved(2, 3, proposal=uid), f"{labels.SKIPPED}: I cannot tell")
    record(catalog, deleted(1))  # of another annotation
    assert skipped()
    record(catalog, deleted(2))
    assert not skipped()


def test_a_deleted_project_withdraws_what_waits_and_keeps_the_labels(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    kept = store(catalog, proposals[0])
    with catalog.database.write() as session:
        assert labels.withdraw_project(session, PROJECT_ID) == 3
    assert standing(catalog, proposals[0]) == [kept]
    assert states(catalog, proposals[0]) == (ProposalState.LABELLED, PatchState.LABELLED, RoundState.COMPLETE)
    assert states(catalog, proposals[1])[:2] == (ProposalState.WITHDRAWN, PatchState.UNLABELLED)
    with catalog.database.write() as session:
        ended = rounds.get(session, proposals[0].round_id)
        assert (
            ended.error == f"its Label Studio project {PROJECT_ID} was deleted; what nobody had labelled was withdrawn"
        )
        assert labels.withdraw_project(session, PROJECT_ID + 1) == 0


def withdraw(catalog: Catalog, task_id: int) -> Proposal | None:
    with catalog.database.write() as session:
        proposal = labels.proposal_of_task(session, PROJECT_ID, task_id)
        if proposal is not None:
            labels.delete_task(session, proposal, deletion_of(session, proposal, task_id))
        return proposal


def test_a_deleted_task_withdraws_its_proposal_and_frees_its_patch(catalog: Catalog, proposals: list[Proposal]) -> None:
    store(catalog, proposals[0])
    assert withdraw(catalog, 1) is not None
    assert standing(catalog, proposals[0]) == []
    assert states(catalog, proposals[0]) == (ProposalState.WITHDRAWN, PatchState.UNLABELLED, RoundState.OPEN)
    with catalog.read() as session:
        free = [patch.id for patch in session.query(Patch).where(Patch.state == PatchState.UNLABELLED)]
    assert proposals[0].patch_id in free


def test_a_deletion_that_is_applied_late_ends_only_what_was_before_it(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    """Its job may have waited for Label Studio, while the task returned and was drawn on."""
    store(catalog, proposals[0], 1)
    with catalog.database.write() as session:
        deletion = deletion_of(session, proposals[0], 1)
        deletion_of(session, proposals[0], 1, action="TASK_RETURNED")
    kept = store(catalog, proposals[0], 2)
    with catalog.database.write() as session:
        labels.delete_task(session, session.get_one(Proposal, proposals[0].id), deletion)
    assert standing(catalog, proposals[0]) == [kept]
    assert states(catalog, proposals[0])[0] is ProposalState.LABELLED


def test_withdrawing_the_last_open_proposal_completes_the_round(catalog: Catalog, proposals: list[Proposal]) -> None:
    for number, proposal in enumerate(proposals[1:], start=1):
        store(catalog, proposal, number)
    withdraw(catalog, 1)
    assert states(catalog, proposals[0])[2] is RoundState.COMPLETE


def test_a_strangers_deleted_task_withdraws_nothing(catalog: Catalog, proposals: list[Proposal]) -> None:
    assert withdraw(catalog, 99) is None
    assert states(catalog, proposals[0])[0] is ProposalState.PUBLISHED


def test_a_patch_proposed_again_is_not_freed_by_late_news_of_its_old_task(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    withdraw(catalog, 1)
    with catalog.database.write() as session:
        add_round(session, [session.get_one(Patch, proposals[0].patch_id)], first_task=9)
    with catalog.database.write() as session:  # the annotation of the old task is reported deleted only now
        labels.refresh_states(session, session.get_one(Proposal, proposals[0].id), skipped=False)
    assert states(catalog, proposals[0])[:2] == (ProposalState.WITHDRAWN, PatchState.PROPOSED)


def test_a_proposal_is_found_by_the_uid_its_task_carries(catalog: Catalog, proposals: list[Proposal]) -> None:
    with catalog.read() as session:
        found = labels.find_proposal(session, proposals[2].uid)
        assert found is not None
        assert found.id == proposals[2].id
        assert labels.find_proposal(session, "of another server") is None
        assert labels.find_proposal(session, None) is None


def test_the_body_is_loaded_only_when_asked_for(catalog: Catalog) -> None:
    record(catalog, saved())
    with catalog.read() as session:
        event = session.query(LabelEvent).one()
        assert "body" not in vars(event)
        assert event.body == b"the body"


def test_moments_of_the_ledger_are_aware(catalog: Catalog) -> None:
    (event_id,) = record(catalog, saved())
    settle(catalog, event_id)
    with catalog.read() as session:
        event = session.get_one(LabelEvent, event_id)
    moments: list[datetime | None] = [event.received_at, event.applied_at, event.annotation_updated_at]
    assert all(moment is not None and moment.tzinfo is not None for moment in moments)


def test_a_round_of_another_proposal_is_untouched(catalog: Catalog, proposals: list[Proposal]) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session, "another", offset_px=200)
        other, _ = add_round(session, patches[:1], first_task=50)
    for number, proposal in enumerate(proposals, start=1):
        store(catalog, proposal, number)
    with catalog.read() as session:
        assert session.get_one(Round, other.id).state is RoundState.OPEN


TOP, BOTTOM = [0, 16 * 32, 16 * 32], [16 * 32, 16 * 32]  # run lengths of the halves of a patch of 32 px


def test_a_patch_labelled_in_part_may_be_proposed_again(catalog: Catalog, proposals: list[Proposal]) -> None:
    """Its state follows from the regions that its standing labels were asked about."""

    def state(patch_id: int) -> PatchState:
        with catalog.read() as session:
            return session.get_one(Patch, patch_id).state

    with catalog.database.write() as session:
        first = session.get_one(Proposal, proposals[0].id)
        first.region = TOP
        patch = session.get_one(Patch, first.patch_id)
        labels.store(session, label_of(session, first, 1))
    assert state(patch.id) is PatchState.PARTLY_LABELLED
    with catalog.database.write() as session:
        _, (second,) = add_round(session, [session.get_one(Patch, patch.id)], first_task=90)
        second.region = BOTTOM
        labels.refresh_states(session, second, skipped=False)
    assert state(patch.id) is PatchState.PROPOSED
    with catalog.database.write() as session:
        assert session.get_one(Proposal, second.id).state is ProposalState.PUBLISHED  # the first's label is not its own
        labels.store(session, label_of(session, session.get_one(Proposal, second.id), 2, minutes=1))
    assert state(patch.id) is PatchState.LABELLED
    with catalog.database.write() as session:
        labels.supersede(session, PROJECT_ID, 1)
        labels.refresh_states(session, session.get_one(Proposal, first.id), skipped=True)
    assert state(patch.id) is PatchState.PARTLY_LABELLED


def test_readers_are_told_no_address_of_an_account(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        event = LabelEvent(dedupe_key="1", action="ANNOTATION_CREATED", origin="webhook", body=b"")
        session.add(event)
        labels.settle(
            event, EventState.FAILED, "Label Studio says: 'Anna.Glacier+1@example.org' may not; see http://ls/1"
        )
        session.flush()
        session.refresh(event)
        assert event.detail == "Label Studio says: '(an address)' may not; see http://ls/1"
