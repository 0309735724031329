"""The intake of label events: from what Label Studio sent, or reconciliation found, to rows of the ledger.

An event is parsed once, by `labeling.events.parse_event`; its keys and its body are stored together with the job that
ingests it. Whoever calls commits first and answers then.
"""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs, labels
from catalog.records import JobKind
from catalog.records import LabelEvent as LedgerRow
from labeling.events import LabelEvent


def record(session: Session, events: Sequence[LabelEvent], body: bytes, origin: str) -> list[LedgerRow]:
    """Store events in the ledger and enqueue their ingestion; those already there are left alone.

    Args:
        session: a writing session.
        events: what `labeling.events.parse_event` read in the body.
        body: the events as they came.
        origin: "webhook" or "reconciliation".

    Returns:
        The rows of the events that were new.
    """
    new = []
    for event in events:
        row = LedgerRow(
            dedupe_key=event.dedupe_key,
            action=event.action,
            project_id=event.project_id,
            task_id=event.task_id,
            annotation_id=event.annotation_id,
            annotation_updated_at=event.annotation_updated_at,
            body=body,
            origin=origin,
        )
        if event.action in labels.DELETION_ACTIONS:
            row.dedupe_key += f":{_deleted_identity(session, event)}"
        if session.scalar(select(LedgerRow.id).where(LedgerRow.dedupe_key == row.dedupe_key)) is not None:
            continue
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # the same event arrived in another process between the look and the insert
            continue
        jobs.enqueue(session, JobKind.INGEST_LABEL, str(row.id), event_id=row.id)
        new.append(row)
    return new


def describes(event: LabelEvent, row: LedgerRow) -> bool:
    """Return whether a row of the ledger is about this event; a body may tell of several deletions."""
    return (event.annotation_id, event.task_id) == (row.annotation_id, row.task_id)


def _deleted_identity(session: Session, event: LabelEvent) -> str:
    """Identify what was deleted by more than its id, which Label Studio may give to another row later."""
    if event.annotation_id is None:
        proposal = labels.proposal_of_task(session, event.project_id, event.task_id)
        return proposal.uid if proposal else "not ours"
    newest = session.scalar(
        select(func.max(LedgerRow.annotation_updated_at)).where(
            LedgerRow.project_id == event.project_id, LedgerRow.annotation_id == event.annotation_id
        )
    )
    return newest.isoformat() if newest else "unseen"
