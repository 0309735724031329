"""Settle events whose order the ledger cannot tell, by asking Label Studio what it has now."""

import logging

from sqlalchemy.orm import Session

from catalog import event_order, labels
from catalog.records import EventState, LabelEvent, Proposal
from labeling.events import proposal_of
from labeling.task_calls import ReadTask
from services.label_comparison import has_annotation, has_state, newest_event_id, record_differences
from services.label_studio import label_studio
from workers.carried_drawings import carry_over
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def is_contradicted(context: JobContext, event: LabelEvent) -> bool:
    """Return whether Label Studio contradicts an event that is in doubt; if so, the event is settled as superseded.

    Whatever Label Studio has instead is recorded. An event that is not in doubt costs no call.

    Raises:
        EventError: Label Studio refuses a drawing that is to be carried over (`workers.carried_drawings`).
        LabelStudioError: Label Studio does not answer.
    """
    with context.catalog.read() as session:
        doubt = event_order.doubt(session, event)
        if doubt is None:
            return False
        known_until = newest_event_id(session)
        known = event_order.history_of(session, event)
    task_ids = {annotation.task_id for annotation in event_order.annotations(known)} | {event.task_id}
    asked = sorted(task_id for task_id in task_ids if task_id is not None)
    tasks = list(label_studio(context.catalog).read_tasks(event.project_id or 0, asked))
    with context.catalog.read() as session:
        is_gone = not any(has_annotation(task, session, event) for task in tasks)
    if is_gone and event.action in event_order.SAVED:
        carry_over(context.catalog, event)
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        found = _contradiction(session, row, tasks)
        log.warning("label event %d: %s; Label Studio was asked: %s", row.id, doubt, found or "it is right")
        if found is not None:
            labels.settle(row, EventState.SUPERSEDED, f"{doubt}, and {found}")
        for task in tasks:
            record_differences(session, task, known_until)
    return found is not None


def _contradiction(session: Session, row: LabelEvent, tasks: list[ReadTask]) -> str | None:
    """Return what Label Studio has instead of what an event says; None if it has just that."""
    if row.action in event_order.SAVED:
        if any(has_state(task, session, row) for task in tasks):
            return None
        if any(has_annotation(task, session, row) for task in tasks):
            return "Label Studio has another state of it"
        return "Label Studio has it no more"
    if row.action == event_order.ANNOTATION_DELETED:
        is_there = any(has_annotation(task, session, row) for task in tasks)
        return "Label Studio still has the annotation" if is_there else None
    proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
    is_there = proposal is not None and any(
        task["id"] == row.task_id and proposal_of(task["data"]) == proposal.uid for task in tasks
    )
    return "Label Studio still has the task" if is_there else None
