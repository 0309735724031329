"""Job: reconcile our rows with Label Studio.

Label Studio sends each webhook only once. This job asks which tasks have changed and records the events that were lost
while the server was down. It also renews image URLs that expire soon or have an outdated base URL.
"""

import json
import logging
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import labels, rounds
from catalog.records import Label, LabelEvent, Proposal, ProposalState, Watermark, now
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.events import AnnotationDeleted, TaskDeleted, parse_event, parse_time, proposal_of, saved_payload
from labeling.task_calls import ChangedTask
from services import label_events
from services.image_urls import image_urls
from services.label_studio import RECONCILIATION, check_still_exists, connect, label_studio
from workers.jobs import JobContext
from workers.task_doubles import remove_doubles

log = logging.getLogger(__name__)

# Label Studio sets the time of a change before it commits it, so read again from before the last change seen.
OVERLAP = timedelta(minutes=5)
# Events received this shortly before are left to the next reconciliation, because a deletion cannot be undone.
CLOCK_SKEW = timedelta(seconds=10)


def sync_label_studio(context: JobContext) -> None:
    """Ensure our project and webhook, record the label events that were lost, and renew image URLs.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    studio = label_studio(context.catalog)
    current = connect(context.catalog, studio)
    for project_id in sorted({current} | _projects_in_use(context)):
        if project_id == current or check_still_exists(context.catalog, studio, project_id):
            _reconcile(context, studio, project_id)
    _serve_newest_version(context, studio, current)


def _projects_in_use(context: JobContext) -> set[int]:
    """Return the projects with unanswered tasks: older releases created a second project after a rename."""
    waiting = select(Proposal.project_id).where(
        Proposal.state == ProposalState.PUBLISHED, Proposal.project_id.is_not(None)
    )
    with context.catalog.read() as session:
        return {project_id for project_id in session.scalars(waiting.distinct()) if project_id is not None}


def _reconcile(context: JobContext, studio: LabelStudio, project_id: int) -> None:
    _record_missed(context, studio, project_id)
    present = _record_deleted_tasks(context, studio, project_id)
    _remove_doubles(context, studio, project_id, present)
    _renew_images(context, studio, project_id, present)


def _remove_doubles(context: JobContext, studio: LabelStudio, project_id: int, present: dict[str, list[int]]) -> None:
    """Remove duplicates of unanswered tasks: an import that timed out may have succeeded before it was repeated."""
    suspects = [uid for uid, task_ids in present.items() if len(task_ids) > 1]
    with context.catalog.read() as session:
        waiting = select(Proposal).where(Proposal.uid.in_(suspects), Proposal.state == ProposalState.PUBLISHED)
        proposals = {proposal.uid: proposal for proposal in session.scalars(waiting)} if suspects else {}
    for uid, tasks in studio.present_tasks(project_id, list(proposals)).items():
        remove_doubles(context.catalog, studio, project_id, proposals[uid], tasks)


def _renew_images(context: JobContext, studio: LabelStudio, project_id: int, present: dict[str, list[int]]) -> None:
    urls = image_urls(context.catalog)
    half_life = now() - timedelta(seconds=context.catalog.settings.image_url_lifetime_s / 2)
    with context.catalog.read() as session:
        statement = select(Proposal).where(
            Proposal.project_id == project_id,
            Proposal.state != ProposalState.WITHDRAWN,
            (Proposal.images_base_url != urls.base_url) | (Proposal.images_signed_at < half_life),
        )
        old = list(session.scalars(statement))
    for proposal in old:
        if proposal.uid not in present or proposal.views is None:
            continue
        renewed = {field: urls.url(proposal.patch_id, name) for field, name in proposal.views.items()}
        for task_id in present[proposal.uid]:
            studio.update_task_data(task_id, renewed)
        with context.catalog.write() as session:
            rounds.note_images_signed(session.get_one(Proposal, proposal.id), urls.base_url)


def _serve_newest_version(context: JobContext, studio: LabelStudio, project_id: int) -> None:
    """Select the predictions of the newest tasks as those that Label Studio shows, in case publication could not.

    An error is only logged: without predictions, annotators see tasks without pre-annotation and unordered.
    """
    with context.catalog.read() as session:
        published = select(Proposal.shown_version).where(
            Proposal.project_id == project_id, Proposal.state == ProposalState.PUBLISHED
        )
        newest = session.scalar(published.order_by(Proposal.id.desc()).limit(1))
    try:
        if newest is not None and studio.model_version(project_id) != newest:
            studio.set_model_version(project_id, newest)
    except LabelStudioError as error:
        log.warning("the pre-annotations of %r cannot be served: %s", newest, error)


def _record_missed(context: JobContext, studio: LabelStudio, project_id: int) -> None:
    """Record the saved and deleted annotations that the ledger lacks, in the tasks changed since the watermark."""
    name = f"label-studio-project-{project_id}"
    with context.catalog.read() as session:
        mark = session.get(Watermark, name)
    reached = mark.reached if mark else None
    asked = now() - CLOCK_SKEW
    for task in studio.changed_tasks(project_id, reached - OVERLAP if reached else None):
        with context.catalog.write() as session:
            proposal = labels.find_proposal(session, proposal_of(task["data"]))
            if proposal is not None:
                _record_saved(session, task)
                _record_deleted_annotations(session, task, proposal, asked)
            session.merge(Watermark(name=name, reached=task["updated_at"]))


def _record_saved(session: Session, task: ChangedTask) -> None:
    for annotation in task["annotations"]:
        _record(session, saved_payload(annotation, task))


def _record_deleted_annotations(session: Session, task: ChangedTask, proposal: Proposal, asked: datetime) -> None:
    """Record the deletion of each annotation that was in the ledger before the query, and is no longer in its task."""
    present = [(annotation.get("id"), _created_at(annotation)) for annotation in task["annotations"]]
    recorded = select(LabelEvent).where(
        LabelEvent.proposal_id == proposal.id,
        LabelEvent.project_id == task["project"],
        LabelEvent.task_id == task["id"],
        LabelEvent.annotation_id.is_not(None),
        LabelEvent.received_at < asked,
    )
    events = {(event.annotation_id, event.annotation_created_at): event for event in session.scalars(recorded)}
    for event in events.values():
        is_present = any(
            annotation_id == event.annotation_id
            and (None in {created_at, event.annotation_created_at} or created_at == event.annotation_created_at)
            for annotation_id, created_at in present
        )
        if not is_present and not labels.is_annotation_deleted(session, event):
            deleted = {"id": event.annotation_id, "created_at": event.annotation_created_at}
            project = {"id": task["project"]}
            _record(session, {"action": AnnotationDeleted.action, "annotations": [deleted], "project": project})


def _created_at(annotation: dict[str, Any]) -> datetime | None:
    try:
        return parse_time(annotation["created_at"])
    except (KeyError, TypeError, ValueError):
        return None


def _record_deleted_tasks(context: JobContext, studio: LabelStudio, project_id: int) -> dict[str, list[int]]:
    """Record the deletion of every task that was published or annotated and no longer exists.

    Tasks are looked up by the uid of their proposal, because Label Studio reuses task ids. If a proposal's own task was
    deleted and a copy exists, the proposal refers to the copy from then on.

    Returns:
        Ids of the existing tasks by the uid of their proposal.
    """
    with context.catalog.read() as session:
        published = select(Proposal.uid, Proposal.task_id).where(
            Proposal.project_id == project_id, Proposal.task_id.is_not(None), Proposal.state != ProposalState.WITHDRAWN
        )
        drawn_on = (
            select(Proposal.uid, LabelEvent.task_id)
            .join(Label, Label.proposal_id == Proposal.id)
            .join(LabelEvent, Label.event_id == LabelEvent.id)
            .where(Label.project_id == project_id, Label.superseded_at.is_(None))
        )
        expected: dict[str, set[int]] = defaultdict(set)
        for uid, task_id in (*session.execute(published), *session.execute(drawn_on)):
            expected[uid].add(task_id)
    present = studio.find_tasks(project_id, list(expected))
    missing = [
        (uid, task_id) for uid, task_ids in expected.items() for task_id in sorted(task_ids - set(present.get(uid, [])))
    ]
    if missing:
        log.warning("%d of our tasks in project %d were deleted in Label Studio", len(missing), project_id)
    with context.catalog.write() as session:
        for uid, task_id in missing:
            proposal = labels.find_proposal(session, uid)
            if proposal is not None and proposal.task_id == task_id and present.get(uid):
                proposal.task_id = present[uid][0]
            deletion = {"tasks": [{"id": task_id, "proposal": uid}], "project": {"id": project_id}}
            _record(session, {"action": TaskDeleted.action, **deletion})
    return present


def _record(session: Session, payload: dict[str, Any]) -> None:
    """Store an event in the ledger, with the body that a webhook would have."""
    body = json.dumps(payload, default=_as_json).encode()
    label_events.record(session, parse_event(body, len(body)), body, RECONCILIATION)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
