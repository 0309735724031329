"""Which events are about the same annotation, and which of its states is the current one, whatever the clocks say."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from catalog import event_order, labels
from catalog.context import Catalog
from catalog.event_order import RECONCILIATION, WEBHOOK
from catalog.records import EventState, LabelEvent, Proposal
from labeling.events import AnnotationDeleted, AnnotationSaved, TaskDeleted, TaskReturned
from labeling.events import LabelEvent as ParsedEvent
from services import label_events
from tests.catalog_fixtures import NOON, PROJECT_ID, add_round, add_scene


@pytest.fixture
def uids(catalog: Catalog) -> list[str]:
    """The uids of two published proposals, tasks 1 and 2."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:2])
    return [proposal.uid for proposal in proposals]


def saved(
    uid: str | None = None,
    minutes: float = 0,
    *,
    annotation_id: int = 1,
    created: float = 0,
    task_id: int = 1,
    unique_id: str | None = None,
    drawn: str = "ice",
) -> AnnotationSaved:
    """An annotation saved some minutes after noon, and created some minutes after noon."""
    return AnnotationSaved(
        action="ANNOTATION_UPDATED",
        annotation_id=annotation_id,
        annotation_uid=unique_id,
        annotation_created_at=NOON + timedelta(minutes=created),
        annotation_updated_at=NOON + timedelta(minutes=minutes),
        task_id=task_id,
        project_id=PROJECT_ID,
        proposal=uid,
        was_cancelled=False,
        result=[drawn],
        drawn_by=None,
        lead_time_s=None,
    )


DELETED = AnnotationDeleted(1, PROJECT_ID)


def receive(catalog: Catalog, event: ParsedEvent, state: EventState | None = None, origin: str = WEBHOOK) -> int:
    """Store an event, settled in a state unless it is None; return its id."""
    with catalog.database.write() as session:
        (row,) = label_events.record(session, [event], b"{}", origin)
        if state is not None:
            labels.settle(row, state)
        return row.id


def why_ignored(catalog: Catalog, event_id: int) -> str | None:
    """Return the reason; queries tell whether there is one."""
    with catalog.read() as session:
        found = event_order.why_ignored(session, session.get_one(LabelEvent, event_id))
        is_ignored = session.scalar(select(event_order.is_ignored()).where(LabelEvent.id == event_id))
    assert is_ignored == (found is not None)
    return found


def doubt(catalog: Catalog, event: ParsedEvent, origin: str = WEBHOOK) -> str | None:
    """Return what would speak against an event if it were received now."""
    with catalog.database.write() as session:
        return event_order.doubt(session, label_events.compose(session, event, b"{}", origin))


# Order


def test_the_last_received_is_the_current_state_although_its_time_is_earlier(catalog: Catalog) -> None:
    """Label Studio's clock was two days ahead when the first was saved, and was then set right."""
    ahead = receive(catalog, saved(minutes=2 * 24 * 60))
    right = receive(catalog, saved(minutes=1, drawn="rock"), EventState.APPLIED)
    assert why_ignored(catalog, ahead) == f"a newer state of this annotation has been applied (label event {right})"
    assert why_ignored(catalog, right) is None


def test_a_newer_state_that_failed_does_not_count(catalog: Catalog) -> None:
    older = receive(catalog, saved())
    receive(catalog, saved(minutes=1), EventState.FAILED)
    assert why_ignored(catalog, older) is None


@pytest.mark.parametrize("other", [{"created": 4}, {"annotation_id": 2}, {"unique_id": "b"}])
def test_states_of_another_annotation_outdate_nothing(catalog: Catalog, other: dict) -> None:
    event_id = receive(catalog, saved(unique_id="a"))
    receive(catalog, saved(minutes=5, **other), EventState.APPLIED)
    assert why_ignored(catalog, event_id) is None


def test_a_deletion_ends_what_was_received_before_it(catalog: Catalog, uids: list[str]) -> None:
    before = receive(catalog, saved(uids[0]))
    receive(catalog, DELETED)
    assert "it has been deleted" in (why_ignored(catalog, before) or "")
    other = receive(catalog, saved(uids[1], task_id=2, annotation_id=2))
    receive(catalog, TaskDeleted(2, PROJECT_ID))
    assert "its task has been deleted" in (why_ignored(catalog, other) or "")
    after = receive(catalog, saved(uids[1], task_id=2, annotation_id=3))
    assert why_ignored(catalog, after) is None


@pytest.mark.parametrize("deletion", [AnnotationDeleted(1, PROJECT_ID), TaskDeleted(1, PROJECT_ID)])
@pytest.mark.parametrize("state", [EventState.FAILED, EventState.SUPERSEDED])
def test_a_deletion_without_effect_ends_nothing(
    catalog: Catalog, uids: list[str], deletion: ParsedEvent, state: EventState
) -> None:
    before = receive(catalog, saved(uids[0]))
    receive(catalog, deletion, state)
    assert why_ignored(catalog, before) is None


@pytest.mark.parametrize("deletion", [AnnotationDeleted(1, PROJECT_ID), TaskDeleted(1, PROJECT_ID)])
def test_what_was_not_deleted_as_was_told_can_be_deleted_later(
    catalog: Catalog, uids: list[str], deletion: ParsedEvent
) -> None:
    """Label Studio refuted the first deletion; nothing else is heard of the annotation before it is deleted."""
    before = receive(catalog, saved(uids[0]))
    receive(catalog, deletion, EventState.SUPERSEDED)
    later = receive(catalog, deletion)
    assert f"(label event {later})" in (why_ignored(catalog, before) or "")
    with catalog.database.write() as session:
        assert label_events.record(session, [deletion], b"{}", WEBHOOK) == []  # a repeat


# Doubt


def test_states_that_come_in_order_cost_no_question(catalog: Catalog, uids: list[str]) -> None:
    assert doubt(catalog, saved(uids[0])) is None
    receive(catalog, saved(uids[0]), EventState.APPLIED)
    assert doubt(catalog, saved(uids[0], 1)) is None
    assert doubt(catalog, DELETED) is None
    assert doubt(catalog, TaskDeleted(1, PROJECT_ID)) is None


@pytest.mark.parametrize("event", [saved(minutes=5), saved(minutes=10, drawn="rock")])
def test_a_state_whose_time_is_not_later_is_late_or_the_clock_was_set_back(
    catalog: Catalog, event: AnnotationSaved
) -> None:
    receive(catalog, saved(minutes=10), EventState.APPLIED)
    assert "its time is not later than that of label event 1" in (doubt(catalog, event) or "")
    assert doubt(catalog, event, RECONCILIATION) is None  # it was read from Label Studio


def test_a_state_after_its_deletion_is_late_or_the_database_was_restored(catalog: Catalog, uids: list[str]) -> None:
    receive(catalog, saved(uids[0]))
    receive(catalog, DELETED)
    assert "it came after its deletion" in (doubt(catalog, saved(uids[0], 1)) or "")
    assert doubt(catalog, saved(uids[0], 5, created=5)) is None  # another annotation with its id
    receive(catalog, TaskDeleted(1, PROJECT_ID))
    assert "it came after its deletion" in (doubt(catalog, saved(uids[0], 5, annotation_id=2)) or "")
    assert doubt(catalog, saved(uids[1], 5, annotation_id=2)) is None  # the task's id was given to another task
    receive(catalog, TaskReturned(1, PROJECT_ID, uids[0]))
    assert doubt(catalog, saved(uids[0], 5, annotation_id=2)) is None


def test_a_deletion_of_what_the_ledger_does_not_know_leaves_its_states_in_doubt(catalog: Catalog) -> None:
    receive(catalog, DELETED)
    assert "it came after its deletion" in (doubt(catalog, saved()) or "")


def test_an_id_that_still_belongs_to_another_annotation_is_in_doubt(catalog: Catalog) -> None:
    """Its deletion was lost, or the database was restored to before it existed and gave the id away again."""
    receive(catalog, saved(), EventState.APPLIED)
    assert "its id belongs to another annotation" in (doubt(catalog, saved(minutes=5, created=5)) or "")
    receive(catalog, DELETED)
    assert doubt(catalog, saved(minutes=5, created=5)) is None


def test_a_deletion_of_an_id_that_several_had_is_in_doubt(catalog: Catalog, uids: list[str]) -> None:
    receive(catalog, saved(uids[0]), EventState.APPLIED)
    receive(catalog, DELETED)
    receive(catalog, saved(uids[1], 5, created=5, task_id=2), EventState.APPLIED)
    assert "have existed before" in (doubt(catalog, DELETED) or "")


def test_a_deletion_of_a_task_id_that_several_had_is_in_doubt(catalog: Catalog, uids: list[str]) -> None:
    receive(catalog, TaskDeleted(1, PROJECT_ID))
    with catalog.database.write() as session:
        second = session.query(Proposal).filter_by(uid=uids[1]).one()
        second.task_id = 1
    assert "tasks with the id 1 have existed before" in (doubt(catalog, TaskDeleted(1, PROJECT_ID)) or "")


# Identity


def test_a_webhook_and_the_api_tell_of_the_same_annotation(catalog: Catalog) -> None:
    """The API does not tell the unique id."""
    with catalog.database.write() as session:
        webhook, api = (
            label_events.compose(session, saved(unique_id=unique_id), b"{}", WEBHOOK) for unique_id in ("a", None)
        )
    assert event_order.is_same_state(webhook, api)
    assert webhook.dedupe_key == api.dedupe_key


def test_a_state_with_the_same_time_and_another_drawing_is_another_state(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        one, other = (label_events.compose(session, saved(drawn=drawn), b"{}", WEBHOOK) for drawn in ("ice", "rock"))
    assert event_order.is_same(one, other)
    assert not event_order.is_same_state(one, other)
    assert one.dedupe_key != other.dedupe_key


def test_what_returns_can_be_deleted_again(catalog: Catalog, uids: list[str]) -> None:
    """A deletion is a repeat only if nothing was heard of the annotation or task since."""
    receive(catalog, saved(uids[0]))
    receive(catalog, DELETED)
    with catalog.database.write() as session:
        row = label_events.compose(session, saved(uids[0]), b"{}", RECONCILIATION)
        assert label_events.record_again(session, saved(uids[0]), row) is not None
        assert label_events.record(session, [DELETED], b"{}", WEBHOOK) != []
        assert label_events.record(session, [DELETED], b"{}", WEBHOOK) == []
        deletion = TaskDeleted(1, PROJECT_ID)
        assert label_events.record(session, [deletion], b"{}", WEBHOOK) != []
        assert label_events.record(session, [deletion], b"{}", WEBHOOK) == []
        returned = TaskReturned(1, PROJECT_ID, uids[0])
        assert label_events.record(session, [returned], b"{}", RECONCILIATION) != []
        assert label_events.record(session, [returned], b"{}", RECONCILIATION) == []
        assert label_events.record(session, [deletion], b"{}", WEBHOOK) != []
        assert session.query(LabelEvent).count() == 7
