"""Record label events, received from Label Studio or found by reconciliation, in the ledger.

An event is parsed once, by `labeling.events.parse_event`; its keys and its body are stored together with the job that
ingests it. Callers commit before they answer the request; requests do so together, see `services.label_inbox`.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress, groupby
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from catalog import event_order, jobs, labels
from catalog.event_order import RECONCILIATION
from catalog.insertion import insert_unless_known
from catalog.logs import bound
from catalog.records import EventState, JobKind, Proposal
from catalog.records import LabelEvent as LedgerRow
from labeling.events import (
    AnnotationDeleted,
    AnnotationSaved,
    LabelEvent,
    ProjectDeleted,
    TaskDeleted,
    TaskReturned,
    UnreadableEvent,
    deletion_body,
    parse_event,
)

log = logging.getLogger(__name__)

_PROPOSALS = Proposal.__table__.c
_NAMED = select(_PROPOSALS.uid, _PROPOSALS.id).where(_PROPOSALS.uid.in_(bindparam("uids", expanding=True)))


@dataclass(frozen=True)
class Delivery:
    """A body that was received, and the events that `labeling.events.parse_event` read in it.

    Attributes:
        events: The events.
        body: As received; of several deletions in it, each is stored alone.
    """

    events: Sequence[LabelEvent]
    body: bytes


def record(session: Session, events: Sequence[LabelEvent], body: bytes, origin: str) -> list[LedgerRow]:
    """Store the events of one body in the ledger, see `record_all`; return the rows of those that were new."""
    return record_all(session, [Delivery(events, body)], origin)[0]


def record_all(session: Session, deliveries: Sequence[Delivery], origin: str) -> list[list[LedgerRow]]:
    """Store events in the ledger and enqueue their ingestion; skip events that are already stored.

    An event that cannot be read is stored as failed, with the reason, and can be replayed.

    Args:
        session: a writing session.
        deliveries: what was received, in this order.
        origin: `catalog.event_order.WEBHOOK` or `RECONCILIATION`.

    Returns:
        For each delivery, the rows of its events that were new.
    """
    new: list[list[LedgerRow]] = [[] for _ in deliveries]
    received = [
        (event, (deletion_body(event) if len(delivery.events) > 1 else None) or delivery.body, added)
        for delivery, added in zip(deliveries, new, strict=True)
        for event in delivery.events
    ]
    for is_content, group in groupby(received, lambda each: isinstance(each[0], AnnotationSaved | UnreadableEvent)):
        entries = list(group)
        # Content can be stored in one statement; a deletion refers to what is stored before it.
        for together in [entries] if is_content else [[entry] for entry in entries]:
            events = [event for event, _, _ in together]
            proposals = _proposal_ids(session, events)
            rows = [compose(session, event, body, origin, proposals) for event, body, _ in together]
            for (_, _, added), row, is_new in zip(together, rows, _insert(session, events, rows), strict=True):
                if is_new:
                    added.append(row)
    return new


def record_again(session: Session, event: LabelEvent, row: LedgerRow) -> LedgerRow | None:
    """Store a state of an annotation that Label Studio has now, even if it had it before.

    A database that was restored has a former state again, which the ledger holds as an earlier event.

    Args:
        session: a writing session.
        event: the state; if it cannot be read and is stored already, it is not stored again.
        row: from `compose`.

    Returns:
        The stored row, if it is new.
    """
    if not isinstance(event, UnreadableEvent) and _is_stored(session, row):
        of_annotation = select(func.max(LedgerRow.id)).where(
            LedgerRow.project_id == row.project_id, LedgerRow.annotation_id == row.annotation_id
        )
        row.dedupe_key += f":after:{session.scalar(of_annotation)}"
    return row if _insert(session, [event], [row]) == [True] else None


def compose(
    session: Session, event: LabelEvent, body: bytes, origin: str, proposals: Mapping[str, int] | None = None
) -> LedgerRow:
    """Return the row of an event, not yet stored. `proposals` as in `identify`."""
    row = LedgerRow(dedupe_key=event.dedupe_key, action=event.action, body=body, origin=origin)
    identify(session, row, event, proposals)
    row.dedupe_key += _occasion(session, row, event)
    return row


def _insert(session: Session, events: Sequence[LabelEvent], rows: Sequence[LedgerRow]) -> list[bool]:
    """Store rows and enqueue the ingestion of those that were new; return for each whether it was."""
    for event, row in zip(events, rows, strict=True):
        if isinstance(event, UnreadableEvent):
            labels.settle(row, EventState.FAILED, event.reason)
    is_new = insert_unless_known(session, rows, LedgerRow.dedupe_key)
    for event, row in compress(zip(events, rows, strict=True), is_new):
        with bound(proposal=_uid(session, event, row), event=row.id, task=row.task_id, annotation=row.annotation_id):
            if isinstance(event, UnreadableEvent):
                log.warning("label event %d cannot be read: %s", row.id, event.reason)
            else:
                log.info("label event %d (%s) is received by %s", row.id, row.action, row.origin)
    waiting = [row.id for row in compress(rows, is_new) if row.state is EventState.RECEIVED]
    jobs.enqueue_new(session, JobKind.INGEST_LABEL, {str(number): {"event_id": number} for number in waiting})
    return is_new


def _uid(session: Session, event: LabelEvent, row: LedgerRow) -> str | None:
    """Return the uid of a row's proposal, which most events tell themselves."""
    if row.proposal_id is None or event.proposal is not None:
        return event.proposal if row.proposal_id is not None else None
    return session.scalar(select(Proposal.uid).where(Proposal.id == row.proposal_id))


def _is_stored(session: Session, row: LedgerRow) -> bool:
    return session.scalar(select(LedgerRow.id).where(LedgerRow.dedupe_key == row.dedupe_key)) is not None


def identify(session: Session, row: LedgerRow, event: LabelEvent, proposals: Mapping[str, int] | None = None) -> None:
    """Store in a row the project, task, annotation, state and proposal that its event refers to.

    A webhook of a deletion holds ids only: it refers to the task or annotation that has them in the ledger now.

    Args:
        session: a session.
        row: the row.
        event: its event.
        proposals: ids of proposals by uid, where they have been looked up for several events at once.
    """
    row.project_id, row.task_id, row.annotation_id = event.project_id, event.task_id, event.annotation_id
    row.annotation_created_at, row.annotation_updated_at = event.annotation_created_at, event.annotation_updated_at
    row.annotation_uid, row.content_sha256 = event.annotation_uid, event.content_sha256
    if isinstance(event, AnnotationDeleted):
        saved = labels.newest_version(session, event.project_id, event.annotation_id, event.annotation_created_at)
        if saved is not None:
            row.proposal_id, row.annotation_created_at = saved.proposal_id, saved.annotation_created_at
            row.annotation_uid = saved.annotation_uid
        return
    if isinstance(event, TaskDeleted) and event.proposal is None:
        proposal = labels.proposal_of_task(session, event.project_id, event.task_id)
        row.proposal_id = proposal.id if proposal is not None else None
    elif event.proposal is not None:
        known = _proposal_ids(session, [event]) if proposals is None else proposals
        row.proposal_id = known.get(event.proposal)


def _proposal_ids(session: Session, events: Iterable[LabelEvent]) -> dict[str, int]:
    """Return the ids of the proposals that events name, by uid; those that are not ours are missing."""
    uids = {event.proposal for event in events if event.proposal is not None}
    if not uids:
        return {}
    session.flush()  # as a query of the session's classes would, which takes twice as long
    found = session.connection().execute(_NAMED, {"uids": list(uids)})
    return {row.uid: row.id for row in found}


def describes(event: LabelEvent, row: LedgerRow) -> bool:
    """Return whether a row of the ledger holds this event; a body may hold several deletions."""
    return row.annotation_id in {None, event.annotation_id} and row.task_id in {None, event.task_id}


def _occasion(session: Session, row: LedgerRow, event: LabelEvent) -> str:
    """Return a suffix of the unique key that tells deletions of the same id apart.

    An id may be deleted several times: it is given away again, and what was deleted returns when Label Studio's
    database is restored. The newest event about it tells which time it is: a state, or a deletion without effect, which
    says nothing of the next one.
    """
    match event:
        case AnnotationDeleted():
            known = event_order.history(session, row.project_id, [row.annotation_id], [])
            earlier = [
                other.id
                for other in known
                if (other.action in event_order.SAVED or other.state is EventState.SUPERSEDED)
                and event_order.is_same(other, row)
            ]
            return f":{max(earlier, default='unseen')}"
        case TaskDeleted():
            return f":{row.proposal_id or 'not ours'}:{_newest_of_task(session, row, event_order.TASK_DELETED)}"
        case TaskReturned():
            return f":{row.proposal_id}:{_newest_of_task(session, row, event_order.TASK_RETURNED)}"
        case ProjectDeleted(project_id=project_id):
            newest_proposal = select(func.max(Proposal.id)).where(Proposal.project_id == project_id)
            return f":{session.scalar(newest_proposal) or 'unused'}"
    return ""


def is_project_deleted(session: Session, project_id: int) -> bool:
    """Return whether the ledger holds the deletion of a project, and nothing was proposed in it since."""
    event = ProjectDeleted(project_id)
    return _is_stored(session, compose(session, event, b"", RECONCILIATION))


def _newest_of_task(session: Session, row: LedgerRow, action: str) -> int | str:
    """Return the id of the newest event about a task that has another action or was refuted; "untouched" if none is."""
    about_it = (LedgerRow.project_id == row.project_id) & (LedgerRow.task_id == row.task_id)
    is_other = (LedgerRow.action != action) | (LedgerRow.state == EventState.SUPERSEDED)
    others = about_it & (LedgerRow.proposal_id == row.proposal_id) & is_other
    newest = session.scalar(select(func.max(LedgerRow.id)).where(others)) if row.proposal_id is not None else None
    return newest or "untouched"


def record_found(session: Session, payload: dict[str, Any]) -> list[LedgerRow]:
    """Store what reconciliation found, with the body that a webhook would have had; return the rows that were new."""
    body = json.dumps(payload, default=_as_json).encode()
    return record(session, parse_event(body, len(body)), body, RECONCILIATION)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
