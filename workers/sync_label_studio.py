"""Job: bring Label Studio and our rows together again.

Label Studio sends each webhook once and never again; whatever happened while this server was down is found here, by
asking which tasks have changed. Addresses of images that expire soon, or name a port we no longer use, are renewed.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import labels, rounds
from catalog.records import LabelEvent, Proposal, ProposalState, Watermark, now
from labeling.client import ChangedTask, LabelStudio
from labeling.events import parse_event, saved_from_api
from labeling.tasks import PROPOSAL
from services import label_events
from services.image_urls import image_urls
from services.label_studio import connect, label_studio
from workers.jobs import Work

# Label Studio stamps a change before it commits it: look a little further back than the last change seen.
OVERLAP = timedelta(minutes=5)
# What the ledger received so shortly before is left to the next reconciliation: a deletion cannot be taken back.
CLOCK_SKEW = timedelta(seconds=10)
ORIGIN = "reconciliation"


def sync_label_studio(work: Work) -> None:
    """Install our project and webhook, renew image addresses, and record the label events that never reached us.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    studio = label_studio(work.catalog)
    project_id = connect(work.catalog, studio)
    _record_missed(work, studio, project_id)
    present = _record_deleted_tasks(work, studio, project_id)
    _renew_images(work, studio, project_id, present)


def _renew_images(work: Work, studio: LabelStudio, project_id: int, present: set[str]) -> None:
    urls = image_urls(work.catalog)
    half_life = now() - timedelta(seconds=work.catalog.settings.image_url_lifetime_s / 2)
    with work.catalog.read() as session:
        statement = select(Proposal).where(
            Proposal.project_id == project_id,
            Proposal.state != ProposalState.WITHDRAWN,
            (Proposal.images_base_url != urls.base_url) | (Proposal.images_signed_at < half_life),
        )
        old = list(session.scalars(statement))
    for proposal in old:
        if proposal.uid not in present or proposal.task_id is None or proposal.views is None:
            continue
        studio.update_task_data(
            proposal.task_id, {field: urls.url(proposal.patch_id, name) for field, name in proposal.views.items()}
        )
        with work.catalog.write() as session:
            rounds.note_images_signed(session.get_one(Proposal, proposal.id), urls.base_url)


def _record_missed(work: Work, studio: LabelStudio, project_id: int) -> None:
    """Record every saved state of an annotation that the ledger lacks, and every deletion that it did not hear of."""
    name = f"label-studio-project-{project_id}"
    with work.catalog.read() as session:
        mark = session.get(Watermark, name)
    reached = mark.reached if mark else None
    asked = now() - CLOCK_SKEW
    for task in studio.changed_tasks(project_id, reached - OVERLAP if reached else None):
        with work.catalog.write() as session:
            if labels.find_proposal(session, task["data"].get(PROPOSAL)) is not None:
                _record_saved(session, task)
                _record_deleted_annotations(session, task, asked)
            session.merge(Watermark(name=name, reached=task["updated_at"]))


def _record_saved(session: Session, task: ChangedTask) -> None:
    for annotation in task["annotations"]:
        action = saved_from_api(annotation, task).action
        content = {key: task[key] for key in ("id", "project", "data")}
        _record(session, {"action": action, "annotation": annotation, "task": content})


def _record_deleted_annotations(session: Session, task: ChangedTask, asked: datetime) -> None:
    """Record the deletion of each annotation that the ledger knew before Label Studio was asked, and it has no more."""
    present = [annotation["id"] for annotation in task["annotations"]]
    known = select(LabelEvent.annotation_id).where(
        LabelEvent.project_id == task["project"],
        LabelEvent.task_id == task["id"],
        LabelEvent.annotation_id.not_in(present),
        LabelEvent.received_at < asked,
    )
    for annotation_id in session.scalars(known.distinct()):
        deletion = {"annotations": [{"id": annotation_id}], "project": {"id": task["project"]}}
        _record(session, {"action": "ANNOTATIONS_DELETED", **deletion})


def _record_deleted_tasks(work: Work, studio: LabelStudio, project_id: int) -> set[str]:
    """Record the deletion of every task that should be there and is not.

    Returns:
        The proposals whose tasks are there. They are asked for by our own name: ids of tasks are given away again.
    """
    with work.catalog.read() as session:
        statement = select(Proposal.uid, Proposal.task_id).where(
            Proposal.project_id == project_id, Proposal.task_id.is_not(None), Proposal.state != ProposalState.WITHDRAWN
        )
        ours = dict(session.execute(statement).all())
    present = set(studio.find_tasks(project_id, list(ours)))
    with work.catalog.write() as session:
        for uid in ours.keys() - present:
            deletion = {"tasks": [{"id": ours[uid]}], "project": {"id": project_id}}
            proposal = labels.find_proposal(session, uid)
            if labels.proposal_of_task(session, project_id, ours[uid]) is proposal:
                _record(session, {"action": "TASKS_DELETED", **deletion})
            elif proposal is not None:  # its task's id has been given away: no event could name it
                labels.withdraw(session, proposal)
    return present


def _record(session: Session, payload: dict[str, Any]) -> None:
    """Put an event in the ledger in the very form in which the webhook would have brought it."""
    body = json.dumps(payload, default=str).encode()
    label_events.record(session, parse_event(body, len(body)), body, ORIGIN)
