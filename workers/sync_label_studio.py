"""Job: reconcile our rows with Label Studio.

Label Studio sends each webhook only once. This job compares what it has with what stands here
(`workers.project_comparison`). It also renews image URLs that expire soon or have an outdated base URL.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from catalog import labels, rounds
from catalog.records import Patch, Proposal, ProposalState, Round, RoundState, now
from labeling.client import LabelStudio
from services import annotators, label_events
from services.image_urls import image_urls
from services.label_studio import check_still_exists, connect, delete_doubles, label_studio
from workers.jobs import JobContext
from workers.project_comparison import compare_project
from workers.served_proposals import serve_proposals
from workers.task_pictures import picture_fields
from workers.task_removal import remove_doubles, remove_unbegun

log = logging.getLogger(__name__)

_PUBLISHED = (ProposalState.PUBLISHED, ProposalState.LABELLED, ProposalState.SKIPPED)


def sync_label_studio(context: JobContext) -> None:
    """Ensure our project and webhook, record the label events that were lost, and renew image URLs.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    studio = label_studio(context.catalog)
    current = connect(context.catalog, studio)
    delete_doubles(context.catalog, studio, current)
    annotators.refresh(context.catalog, studio)
    present: dict[str, tuple[int, int]] = {}
    for project_id in sorted({current} | _projects_in_use(context)):
        if project_id == current or check_still_exists(context.catalog, studio, project_id):
            tasks = _reconcile(context, studio, project_id)
            present |= {uid: (project_id, of_proposal[0]) for uid, of_proposal in tasks.items()}
    _mend_unnoted(context, present)
    serve_proposals(context.catalog, studio, current)


def _projects_in_use(context: JobContext) -> set[int]:
    """Return the projects with tasks of ours: older releases created a second project after a rename."""
    in_use = select(Proposal.project_id).where(
        Proposal.state != ProposalState.WITHDRAWN, Proposal.project_id.is_not(None)
    )
    with context.catalog.read() as session:
        return {
            project_id
            for project_id in session.scalars(in_use.distinct())
            if project_id is not None and not label_events.is_project_deleted(session, project_id)
        }


def _reconcile(context: JobContext, studio: LabelStudio, project_id: int) -> dict[str, list[int]]:
    """Reconcile a project; return the ids of its tasks by the uid of their proposal."""
    present = compare_project(context, studio, project_id)
    _remove_doubles(context, studio, project_id, present)
    _remove_abandoned(context, studio, project_id, present)
    _renew_images(context, studio, project_id, present)
    return present


def _mend_unnoted(context: JobContext, present: Mapping[str, tuple[int, int]]) -> None:
    """Note tasks that a publication which was cut off did not note, and withdraw proposals that wait without one.

    Earlier releases left both: a proposal that was answered before its task was noted got none any more.

    Args:
        context: the job.
        present: project and task of each proposal that has one, by its uid.
    """
    unnoted = select(Proposal).join(Round, Proposal.round_id == Round.id)
    unnoted = unnoted.where(
        Proposal.task_id.is_(None), Proposal.state.in_(_PUBLISHED), Round.state != RoundState.PUBLISHING
    )
    with context.catalog.read() as session:
        found = session.scalars(unnoted).all()
    for proposal in found:
        with context.catalog.write() as session:
            locked = labels.lock(session, proposal)
            if locked.task_id is not None:  # an answer has just told it
                continue
            if locked.uid in present:
                log.warning("the task of proposal %s was not noted; it is now", locked.uid)
                rounds.note_task(locked, *present[locked.uid])
            elif locked.state is ProposalState.PUBLISHED:
                log.warning("proposal %s waited for an annotator without a task; it is withdrawn", locked.uid)
                labels.withdraw(session, locked)


def _remove_doubles(context: JobContext, studio: LabelStudio, project_id: int, present: dict[str, list[int]]) -> None:
    """Remove the doubles of tasks, of answered ones too: nobody is to be asked again what is answered."""
    suspects = [uid for uid, task_ids in present.items() if len(task_ids) > 1]
    with context.catalog.read() as session:
        published = select(Proposal).where(Proposal.uid.in_(suspects), Proposal.state.in_(_PUBLISHED))
        proposals = session.scalars(published.order_by(Proposal.id)).all() if suspects else []
    found = studio.present_tasks(project_id, [proposal.uid for proposal in proposals])
    remove_doubles(context.catalog, studio, project_id, proposals, found)


def _remove_abandoned(context: JobContext, studio: LabelStudio, project_id: int, present: dict[str, list[int]]) -> None:
    """Delete the tasks of abandoned rounds that nobody has begun.

    A publication may have been cut off by the abandonment, and Label Studio have done its import only afterwards.
    """
    abandoned = select(Proposal.uid).join(Round, Proposal.round_id == Round.id)
    abandoned = abandoned.where(Proposal.state == ProposalState.ABANDONED, Round.state == RoundState.ABANDONED)
    with context.catalog.read() as session:
        uids = [uid for uid in session.scalars(abandoned) if uid in present]
    remove_unbegun(context.catalog, studio, project_id, uids)


def _renew_images(context: JobContext, studio: LabelStudio, project_id: int, present: dict[str, list[int]]) -> None:
    urls = image_urls(context.catalog)
    half_life = now() - timedelta(seconds=context.catalog.settings.image_url_lifetime_s / 2)
    with context.catalog.read() as session:
        statement = select(Proposal).where(
            Proposal.project_id == project_id,
            Proposal.state != ProposalState.WITHDRAWN,
            (Proposal.images_base_url != urls.base_url) | (Proposal.images_signed_at < half_life),
        )
        old = list(session.scalars(statement.options(joinedload(Proposal.patch).joinedload(Patch.scene))))
    for proposal in old:
        if proposal.uid not in present or proposal.views is None:
            continue
        renewed = picture_fields(urls, proposal.patch.scene, proposal.patch, proposal.views)
        for task_id in present[proposal.uid]:
            studio.update_task_data(task_id, renewed)
        with context.catalog.write() as session:
            rounds.note_images_signed(session.get_one(Proposal, proposal.id), urls.base_url)
