"""Compare the annotations that a task has in Label Studio with the ledger, and record what differs.

Nothing is concluded from times: Label Studio has what it has. Each difference is recorded as an event, which takes
effect as any other: an annotation that the ledger does not know, or knows in another state; an annotation that the
ledger knows and that is gone; a task that was deleted and exists again.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import event_order, labels
from catalog.event_order import RECONCILIATION
from catalog.records import EventState, LabelEvent
from labeling.events import AnnotationDeleted, TaskReturned, proposal_of, read_saved
from labeling.events import LabelEvent as ParsedEvent
from labeling.task_calls import ReadTask
from labeling.tasks import PROPOSAL
from services import label_events


def newest_event_id(session: Session) -> int:
    """Return the id of the newest event of the ledger, to be noted before Label Studio is asked; 0 if it is empty."""
    return session.scalar(select(func.max(LabelEvent.id))) or 0


def record_differences(session: Session, task: ReadTask, known_until: int) -> list[LabelEvent] | None:
    """Record how the annotations of a task differ from the ledger.

    Args:
        session: a writing session.
        task: as Label Studio had it just now.
        known_until: `newest_event_id` before Label Studio was asked. An event that was received since may have happened
            after the task was read, so that no difference can be told.

    Returns:
        The new events; None if an event about the task was received meanwhile: compare again later.
    """
    states = [_state(session, annotation, task) for annotation in task["annotations"]]
    states.sort(key=lambda state: event_order.time_of(state[1]))
    present = [row for _, row in states]
    of_task = select(LabelEvent.annotation_id).where(
        LabelEvent.project_id == task["project"],
        LabelEvent.task_id == task["id"],
        LabelEvent.annotation_id.is_not(None),
    )
    annotation_ids = {row.annotation_id for row in present} | set(session.scalars(of_task.distinct()))
    events = event_order.history(session, task["project"], annotation_ids, [task["id"]])
    if any(event.id > known_until for event in events):
        return None
    gone = [
        annotation
        for annotation in event_order.annotations(events)
        if event_order.exists(events, annotation)
        and _would_be_here(annotation, task, present)
        and not any(event_order.is_same(annotation, row) for row in present)
    ]
    recorded: list[LabelEvent | None] = [_record_gone(session, annotation) for annotation in gone]
    recorded += _record_return(session, task, events)
    for parsed, row in states:
        newest = event_order.newest(events, row)
        if newest is None or not event_order.is_same_state(newest, row):
            recorded.append(label_events.record_again(session, parsed, row))
    return [row for row in recorded if row is not None]


def has_state(task: ReadTask, session: Session, event: LabelEvent) -> bool:
    """Return whether a task in Label Studio has an annotation in just the state that an event holds."""
    return any(
        event_order.is_same_state(_state(session, annotation, task)[1], event) for annotation in task["annotations"]
    )


def has_annotation(task: ReadTask, session: Session, event: LabelEvent) -> bool:
    """Return whether a task in Label Studio has the annotation that an event is about, in whatever state."""
    return any(event_order.is_same(_state(session, annotation, task)[1], event) for annotation in task["annotations"])


def _would_be_here(annotation: LabelEvent, task: ReadTask, present: Sequence[LabelEvent]) -> bool:
    """Return whether an annotation would be seen on a task if it existed; an id belongs to one annotation at a time."""
    return annotation.task_id == task["id"] or any(annotation.annotation_id == row.annotation_id for row in present)


def _state(session: Session, annotation: dict[str, Any], task: ReadTask) -> tuple[ParsedEvent, LabelEvent]:
    """Return what an annotation says, parsed and as a row of the ledger that is not stored."""
    parsed, body = read_saved(annotation, task)
    return parsed, label_events.compose(session, parsed, body, RECONCILIATION)


def _record_return(session: Session, task: ReadTask, events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """Record that a task of ours exists whose deletion is in the ledger."""
    uid = proposal_of(task["data"])
    proposal = labels.find_proposal(session, uid)
    if proposal is None:
        return []
    told = [
        event.action
        for event in events
        if event.action in {event_order.TASK_DELETED, event_order.TASK_RETURNED}
        and (event.task_id, event.proposal_id) == (task["id"], proposal.id)
        and event.state in {EventState.RECEIVED, EventState.APPLIED}
    ]
    if not told or told[-1] == event_order.TASK_RETURNED:
        return []
    returned = {"tasks": [{"id": task["id"], PROPOSAL: uid}], "project": {"id": task["project"]}}
    return label_events.record_found(session, {"action": TaskReturned.action, **returned})


def _record_gone(session: Session, annotation: LabelEvent) -> LabelEvent | None:
    deleted = {"id": annotation.annotation_id, "created_at": annotation.annotation_created_at}
    payload = {
        "action": AnnotationDeleted.action,
        "annotations": [deleted],
        "project": {"id": annotation.project_id},
    }
    return next(iter(label_events.record_found(session, payload)), None)
