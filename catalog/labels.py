"""From label events to labels: the ledger of what Label Studio said, and the masks that follow from it.

Events may come twice, late, out of order, or never (reconciliation then finds them). The ledger's unique key makes a
repeat nothing; the order is decided by the annotation's own ``updated_at``, not by arrival; a deletion leaves a
tombstone that a late creation meets.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from catalog import jobs, rounds
from catalog.errors import ConflictError, NotFoundError
from catalog.pixel_regions import covers_patch
from catalog.records import (
    EventState,
    JobKind,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalState,
    RoundState,
    now,
)

DELETION_ACTIONS = frozenset({"ANNOTATIONS_DELETED", "TASKS_DELETED"})


def proposal_of_task(session: Session, project_id: int | None, task_id: int | None) -> Proposal | None:
    """Return the proposal that now has this task. The newest: Label Studio may reuse the id of a deleted task."""
    statement = select(Proposal).where(Proposal.project_id == project_id, Proposal.task_id == task_id)
    return session.scalar(statement.order_by(Proposal.id.desc()).limit(1))


def proposal_of_annotation(session: Session, project_id: int, annotation_id: int) -> Proposal | None:
    """Return the proposal that an annotation answered, as the ledger knows it."""
    task_id = session.scalar(
        select(LabelEvent.task_id)
        .where(LabelEvent.project_id == project_id, LabelEvent.annotation_id == annotation_id)
        .where(LabelEvent.task_id.is_not(None))
        .limit(1)
    )
    return proposal_of_task(session, project_id, task_id) if task_id is not None else None


def get_event(session: Session, event_id: int) -> LabelEvent:
    """Fetch an event of the ledger.

    Raises:
        NotFoundError: there is no such event.
    """
    event = session.get(LabelEvent, event_id)
    if event is None:
        raise NotFoundError(f"there is no label event {event_id}")
    return event


def replay(session: Session, event_id: int) -> LabelEvent:
    """Ingest a failed event again, for instance after a fault of ours was mended.

    Raises:
        NotFoundError: there is no such event.
        ConflictError: it has not failed.
    """
    event = get_event(session, event_id)
    if event.state is not EventState.FAILED:
        raise ConflictError(f"label event {event_id} is {event.state}; only a failed event can be replayed")
    reopen(event)
    jobs.enqueue(session, JobKind.INGEST_LABEL, str(event_id), event_id=event_id)
    return event


def mark_failed(session: Session, event_id: int, error: str) -> None:
    """Note that an event could not be applied, so that it can be replayed; one that was dealt with stays as it is."""
    event = get_event(session, event_id)
    if event.state is EventState.RECEIVED:
        settle(event, EventState.FAILED, error)


def reopen(event: LabelEvent) -> None:
    """Bring a failed event back to where ingestion expects it."""
    if event.state is EventState.FAILED:
        event.state, event.detail, event.applied_at = EventState.RECEIVED, None, None


def settle(event: LabelEvent, state: EventState, detail: str | None = None) -> None:
    """Note what became of an event."""
    event.state, event.detail, event.applied_at = state, detail, now()


def find_proposal(session: Session, uid: str | None) -> Proposal | None:
    """Return the proposal that a task carries; None for tasks that are not ours."""
    return session.scalar(select(Proposal).where(Proposal.uid == uid)) if uid else None


def lock(session: Session, proposal: Proposal) -> Proposal:
    """Return the proposal as it is now, and let nobody else change what it stands for until this session ends.

    PostgreSQL locks its row; SQLite has one writer anyway.
    """
    return session.get_one(Proposal, proposal.id, with_for_update=True, populate_existing=True)


def is_outdated(session: Session, project_id: int, annotation_id: int, updated_at: datetime) -> bool:
    """Tell whether a newer state of this annotation, or its deletion, has been applied already."""
    applied = (LabelEvent.state == EventState.APPLIED) & (LabelEvent.project_id == project_id)
    same = applied & (LabelEvent.annotation_id == annotation_id)
    newer = same & ((LabelEvent.annotation_updated_at >= updated_at) | (LabelEvent.action.in_(DELETION_ACTIONS)))
    return session.scalar(select(LabelEvent.id).where(newer).limit(1)) is not None


def current(session: Session, patch_id: int) -> list[Label]:
    """Return the labels of a patch that stand, newest first, each with its proposal."""
    statement = select(Label).where(Label.patch_id == patch_id, Label.superseded_at.is_(None))
    newest_first = statement.order_by(Label.annotated_at.desc(), Label.id.desc())
    return list(session.scalars(newest_first.options(joinedload(Label.proposal))))


def supersede(session: Session, project_id: int, annotation_id: int) -> list[Label]:
    """End the standing label of an annotation (updated, skipped or deleted); its row and mask are kept."""
    statement = select(Label).where(
        Label.project_id == project_id, Label.annotation_id == annotation_id, Label.superseded_at.is_(None)
    )
    ended = list(session.scalars(statement))
    for label in ended:
        label.superseded_at = now()
    session.flush()
    return ended


def store(session: Session, label: Label) -> None:
    """Store an expert's mask in place of the annotation's earlier one."""
    supersede(session, label.project_id, label.annotation_id)
    session.add(label)
    session.flush()
    refresh_states(session, session.get_one(Proposal, label.proposal_id), skipped=False)


def refresh_states(session: Session, proposal: Proposal, *, skipped: bool) -> None:
    """Bring a proposal, its patch and its round to the states that the standing labels imply.

    Args:
        session: a writing session.
        proposal: locked; a withdrawn one stays withdrawn.
        skipped: whether its annotator has just skipped it.
    """
    if proposal.state is not ProposalState.WITHDRAWN:
        proposal.state = _implied_by_labels(session, proposal, skipped=skipped)
    session.flush()
    session.get_one(Patch, proposal.patch_id).state = _implied_state(session, proposal.patch_id)
    rounds.complete_if_answered(session, proposal.round_id)


def _implied_by_labels(session: Session, proposal: Proposal, *, skipped: bool) -> ProposalState:
    own = select(Label.id).where(Label.proposal_id == proposal.id, Label.superseded_at.is_(None))
    if session.scalar(own.limit(1)) is not None:
        return ProposalState.LABELLED
    if skipped:
        return ProposalState.SKIPPED
    is_abandoned = rounds.get(session, proposal.round_id).state is RoundState.ABANDONED
    return ProposalState.ABANDONED if is_abandoned else ProposalState.PUBLISHED


def _implied_state(session: Session, patch_id: int) -> PatchState:
    """Return the state of a patch that its standing labels and its proposals, of whatever round, imply."""
    states = set(session.scalars(select(Proposal.state).where(Proposal.patch_id == patch_id)))
    if states & {ProposalState.CHOSEN, ProposalState.PUBLISHED}:
        return PatchState.PROPOSED
    standing = current(session, patch_id)
    if standing:
        size = session.get_one(Patch, patch_id).size_px
        is_covered = covers_patch((label.proposal.region for label in standing), size, size)
        return PatchState.LABELLED if is_covered else PatchState.PARTLY_LABELLED
    return PatchState.SKIPPED if ProposalState.SKIPPED in states else PatchState.UNLABELLED


def withdraw_task(session: Session, project_id: int, task_id: int) -> Proposal | None:
    """Withdraw the proposal whose task was deleted in Label Studio, with the labels that were deleted along with it.

    Returns:
        The proposal, or None when the task is not ours.
    """
    proposal = proposal_of_task(session, project_id, task_id)
    if proposal is not None:
        withdraw(session, proposal)
    return proposal


def withdraw(session: Session, proposal: Proposal) -> None:
    """Withdraw a proposal whose task is gone, with its labels."""
    proposal = lock(session, proposal)
    standing = select(Label).where(Label.proposal_id == proposal.id, Label.superseded_at.is_(None))
    for label in session.scalars(standing):
        label.superseded_at = now()
    session.flush()
    proposal.state = ProposalState.WITHDRAWN
    refresh_states(session, proposal, skipped=False)
