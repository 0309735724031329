"""Record label events, received from Label Studio or found by reconciliation, in the ledger.

An event is parsed once, by `labeling.events.parse_event`; its keys and its body are stored together with the job that
ingests it. Callers commit before they answer the request.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs, labels
from catalog.records import EventState, JobKind, Proposal
from catalog.records import LabelEvent as LedgerRow
from labeling.events import AnnotationDeleted, LabelEvent, ProjectDeleted, TaskDeleted, UnreadableEvent

log = logging.getLogger(__name__)


def record(session: Session, events: Sequence[LabelEvent], body: bytes, origin: str) -> list[LedgerRow]:
    """Store events in the ledger and enqueue their ingestion; skip events that are already stored.

    An event that cannot be read is stored as failed, with the reason, and can be replayed.

    Args:
        session: a writing session.
        events: the events that `labeling.events.parse_event` read in the body.
        body: the body as received.
        origin: "webhook" or "reconciliation".

    Returns:
        The rows of the events that were new.
    """
    new = []
    for event in events:
        row = LedgerRow(dedupe_key=event.dedupe_key, action=event.action, body=body, origin=origin)
        identify(session, row, event)
        row.dedupe_key += _deleted_identity(session, row, event)
        if session.scalar(select(LedgerRow.id).where(LedgerRow.dedupe_key == row.dedupe_key)) is not None:
            continue
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # another process inserted the same event after our query
            continue
        if isinstance(event, UnreadableEvent):
            log.warning("label event %d cannot be read: %s", row.id, event.reason)
            labels.settle(row, EventState.FAILED, event.reason)
        else:
            jobs.enqueue(session, JobKind.INGEST_LABEL, str(row.id), event_id=row.id)
        new.append(row)
    return new


def identify(session: Session, row: LedgerRow, event: LabelEvent) -> None:
    """Store in a row the project, task, annotation and proposal that its event refers to.

    A webhook of a deletion holds ids only: it refers to the task or annotation that has them in the ledger now.
    """
    row.project_id, row.task_id, row.annotation_id = event.project_id, event.task_id, event.annotation_id
    row.annotation_created_at, row.annotation_updated_at = event.annotation_created_at, event.annotation_updated_at
    if isinstance(event, AnnotationDeleted):
        saved = labels.newest_version(session, event.project_id, event.annotation_id, event.annotation_created_at)
        if saved is not None:
            row.proposal_id, row.annotation_created_at = saved.proposal_id, saved.annotation_created_at
        return
    proposal = labels.find_proposal(session, event.proposal)
    if isinstance(event, TaskDeleted) and event.proposal is None:
        proposal = labels.proposal_of_task(session, event.project_id, event.task_id)
    row.proposal_id = proposal.id if proposal is not None else None


def describes(event: LabelEvent, row: LedgerRow) -> bool:
    """Return whether a row of the ledger holds this event; a body may hold several deletions."""
    return row.annotation_id in {None, event.annotation_id} and row.task_id in {None, event.task_id}


def _deleted_identity(session: Session, row: LedgerRow, event: LabelEvent) -> str:
    """Return a suffix of the unique key that distinguishes deletions of several objects that reused one id."""
    match event:
        case AnnotationDeleted():
            return f":{row.annotation_created_at.isoformat() if row.annotation_created_at else 'unseen'}"
        case TaskDeleted():
            drawn = select(func.max(LedgerRow.annotation_updated_at)).where(
                LedgerRow.proposal_id == row.proposal_id,
                LedgerRow.project_id == row.project_id,
                LedgerRow.task_id == row.task_id,
            )
            newest = session.scalar(drawn) if row.proposal_id is not None else None
            return f":{row.proposal_id or 'not ours'}:{newest.isoformat() if newest else 'untouched'}"
        case ProjectDeleted():
            newest_proposal = select(func.max(Proposal.id)).where(Proposal.project_id == row.project_id)
            return f":{session.scalar(newest_proposal) or 'unused'}"
    return ""
