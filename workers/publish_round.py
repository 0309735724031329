"""Job: put the proposals of a round before the annotators, with views, reasons and pre-annotations.

Every step looks at what Label Studio has and adds what is missing: the job may be repeated, and two may run at once.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from catalog import labels, rounds, set_aside
from catalog.records import Patch, Proposal, ProposalState, Round, RoundState
from catalog.set_aside import Kind
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.task_calls import PresentTask
from services.label_studio import connect, label_studio
from services.patch_views import SURROUNDINGS
from services.unusable_scenes import check_scenes, not_set_aside
from workers.jobs import JobContext
from workers.publication import Offer, Publication, begin_publication, offer
from workers.served_proposals import serve_proposals
from workers.task_removal import remove_doubles

log = logging.getLogger(__name__)


def publish_round(context: JobContext, round_id: int) -> None:
    """Create the Label Studio tasks of a round, each once, and open the round.

    A proposal that was withdrawn, because somebody deleted its task, is not published again.

    Raises:
        LabelStudioError: Label Studio does not answer.
        ServiceDownError: MLflow does not answer.
        SceneError: a scene cannot be read.
    """
    with context.catalog.read() as session:
        published = rounds.get(session, round_id)
        chosen = _proposals(session, (Proposal.round_id == round_id) & (Proposal.state == ProposalState.CHOSEN))
    if published.state is not RoundState.PUBLISHING:
        return
    studio = label_studio(context.catalog)
    project_id = connect(context.catalog, studio)
    chosen = _without_unusable(context, chosen)
    publication = begin_publication(context.catalog)
    serve_proposals(context.catalog, studio, project_id)  # of an earlier release: before there are some of this one
    _create_tasks(context, publication, studio, project_id, chosen)
    _renew_waiting(context, publication, studio, project_id)
    serve_proposals(context.catalog, studio, project_id)
    with context.catalog.write() as session:
        rounds.mark_open(session, round_id)


def _without_unusable(context: JobContext, chosen: Sequence[Proposal]) -> list[Proposal]:
    """Withdraw the proposals whose scene is set aside or cannot be opened, and return the others.

    Their patches are proposed again later.
    """
    scenes = {proposal.patch.scene_id: proposal.patch.scene for proposal in chosen}
    candidates = not_set_aside(context.catalog, scenes.values())
    usable = {scene.id for scene in check_scenes(context.catalog, candidates)}
    for proposal in chosen:
        if proposal.patch.scene_id not in usable:
            log.error("proposal %s is withdrawn: scene %s is set aside", proposal.uid, proposal.patch.scene.name)
            with context.catalog.write() as session:
                labels.withdraw(session, proposal)
    return [proposal for proposal in chosen if proposal.patch.scene_id in usable]


def _create_tasks(
    context: JobContext, publication: Publication, studio: LabelStudio, project_id: int, chosen: Sequence[Proposal]
) -> None:
    """Create the tasks that are missing, and note the task of each proposal.

    What the annotators will see is noted before anything is published: an answer can come as soon as a task exists.
    """
    present = studio.find_tasks(project_id, [proposal.uid for proposal in chosen])
    missing = [proposal for proposal in chosen if proposal.uid not in present]
    tasks = []
    for done, proposal in enumerate(missing):
        context.progress(done, len(missing), "drawing views and pre-annotations")
        offered = offer(publication, _round_of(proposal), proposal)
        _note_shown(publication, proposal, offered)
        tasks.append(offered.task)
    context.progress(len(missing), len(missing), "creating tasks")  # also asks whether the job is still ours
    created = studio.import_missing(project_id, tasks)
    found = {**studio.present_tasks(project_id, list(present)), **created}
    kept = remove_doubles(context.catalog, studio, project_id, chosen, found)
    _note_tasks(publication, project_id, chosen, {uid: task.id for uid, task in kept.items()})


def _note_tasks(
    publication: Publication, project_id: int, chosen: Sequence[Proposal], task_ids: Mapping[str, int]
) -> None:
    """Note the task of each proposal; one whose task was deleted meanwhile is withdrawn, as nobody can answer it."""
    for proposal in chosen:
        with publication.catalog.write() as session:
            if proposal.uid in task_ids:
                base_url = publication.urls.base_url
                rounds.mark_published(session, proposal.id, project_id, task_ids[proposal.uid], base_url)
            elif labels.lock(session, proposal).state is ProposalState.CHOSEN:
                log.warning("proposal %s is withdrawn: its task was deleted before it was noted", proposal.uid)
                labels.withdraw(session, proposal)


def _renew_waiting(context: JobContext, publication: Publication, studio: LabelStudio, project_id: int) -> None:
    """Let every task that waits, of whatever round, show what it would show if it were published now.

    An import that Label Studio repeated by itself has left its tasks without prediction. A task that somebody has begun
    stays as it is: what was drawn so far was drawn on its proposal.
    """
    with context.catalog.read() as session:
        waiting = _proposals(session, (Proposal.state == ProposalState.PUBLISHED) & (Proposal.project_id == project_id))
    present = studio.present_tasks(project_id, [proposal.uid for proposal in waiting])
    tasks = remove_doubles(context.catalog, studio, project_id, waiting, present)
    with context.catalog.read() as session:
        aside = set(session.scalars(set_aside.numbers(Kind.SCENE)))
    for done, proposal in enumerate(waiting):
        if proposal.uid not in tasks:  # deleted, as reconciliation will find out
            continue
        if proposal.patch.scene_id in aside:  # its views cannot be drawn anew; the old ones stay
            continue
        context.progress(done, len(waiting), "renewing tasks that wait")
        kept = tasks[proposal.uid]
        if not kept.is_begun and not (_is_new(publication, proposal) and kept.is_predicted):
            _renew(publication, studio, project_id, proposal, kept)


def _is_new(publication: Publication, proposal: Proposal) -> bool:
    """Return whether a task shows the newest version, in the form of this release."""
    return proposal.shown_version == publication.shown_version and SURROUNDINGS in (proposal.views or {})


def _renew(
    publication: Publication, studio: LabelStudio, project_id: int, proposal: Proposal, task: PresentTask
) -> None:
    """Renew a task; if Label Studio refuses its prediction, it keeps the one that it has, or starts empty."""
    offered = offer(publication, _round_of(proposal), proposal)
    data, prediction = offered.task["data"], offered.prediction
    try:
        is_renewed = studio.renew_task(project_id, task.id, data, prediction)
    except LabelStudioError as error:
        if not error.refused or error.status == httpx.codes.NOT_FOUND:
            raise
        log.warning("task %d is not renewed: %s", task.id, error)
        if task.is_predicted:
            return
        offered = replace(offered, preannotated_by=None)
        is_renewed = studio.renew_task(project_id, task.id, data, {**prediction, "result": []})
    if is_renewed:
        _note_shown(publication, proposal, offered)


def _note_shown(publication: Publication, proposal: Proposal, offered: Offer) -> None:
    """Note what the annotator of a proposal is shown; what an answered one was shown stays."""
    with publication.catalog.write() as session:
        row = labels.lock(session, proposal)
        if row.state not in rounds.UNANSWERED:
            return
        row.views = offered.views
        rounds.note_images_signed(row, publication.urls.base_url)
        row.shown_version, row.preannotated_by = publication.shown_version, offered.preannotated_by
        row.expected_edits = None if offered.expected_edits is None else offered.expected_edits.model_dump()


def _round_of(proposal: Proposal) -> Round:
    """Return the round of a proposal that annotators are asked about; only corrections on the map have none."""
    if proposal.round is None:
        raise ValueError(f"proposal {proposal.uid} is a correction on the map, which nobody is asked about")
    return proposal.round


def _proposals(session: Session, condition: ColumnElement[bool]) -> list[Proposal]:
    """Return proposals with what is needed to show them, most urgent first."""
    statement = select(Proposal).where(condition).order_by(Proposal.round_id, Proposal.rank)
    with_patch = joinedload(Proposal.patch).joinedload(Patch.scene)
    return list(session.scalars(statement.options(with_patch, joinedload(Proposal.round).joinedload(Round.scoring))))
