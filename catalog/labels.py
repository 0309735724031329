"""The ledger of label events and the labels that follow from them.

Events may arrive twice, late, out of order, or never (reconciliation then records them):

- A unique key per event makes repeats harmless.
- States of an annotation follow each other in the order in which they were received; `catalog.event_order` says when
  Label Studio has to be asked instead.
- A deletion that arrives before its annotation stays in the ledger and is considered when the annotation arrives.

A task is identified by its id and its proposal, an annotation as `catalog.event_order` says. A deletion event holds ids
only: it refers to the task or annotation that had the id when the event was received.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from catalog import event_order, jobs, proposal_locks, rounds, scene_locks
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
    Scene,
    SceneState,
    now,
)
from catalog.withdrawal_records import WithdrawnLabel

SKIPPED = "skipped"
"""Detail of an applied event whose annotator skipped the task; the reason follows after a colon, if one was given."""
NEWEST_FIRST = Label.event_id.desc()
"""Order of labels by when they were received; their times are by Label Studio's clock, which may be wrong."""


def proposal_of_task(session: Session, project_id: int | None, task_id: int | None) -> Proposal | None:
    """Return the proposal of a task according to our rows; None if the task is not ours.

    The proposal published as this task comes first, the newest that is not withdrawn; then the proposal named by the
    newest event of the task, since a person may have copied a task.
    """
    of_task = select(Proposal).where(Proposal.project_id == project_id, Proposal.task_id == task_id)
    newest = of_task.order_by(Proposal.id.desc()).limit(1)
    live = session.scalar(newest.where(Proposal.state != ProposalState.WITHDRAWN))
    if live is not None:
        return live
    proposal_ids = select(LabelEvent.proposal_id).where(
        LabelEvent.project_id == project_id, LabelEvent.task_id == task_id, LabelEvent.proposal_id.is_not(None)
    )
    proposal_id = session.scalar(proposal_ids.order_by(LabelEvent.id.desc()).limit(1))
    return session.get(Proposal, proposal_id) if proposal_id is not None else session.scalar(newest)


def newest_version(
    session: Session, project_id: int | None, annotation_id: int | None, created_at: datetime | None = None
) -> LabelEvent | None:
    """Return the newest event with a version of an annotation.

    An id may have belonged to several annotations; ``created_at`` selects one of them, None any.
    """
    versions = select(LabelEvent).where(
        LabelEvent.project_id == project_id,
        LabelEvent.annotation_id == annotation_id,
        LabelEvent.action.in_(event_order.SAVED),
    )
    if created_at is not None:
        versions = versions.where(LabelEvent.annotation_created_at == created_at)
    return session.scalar(versions.order_by(LabelEvent.id.desc()).limit(1))


def lock_event(session: Session, event_id: int) -> LabelEvent:
    """Fetch an event of the ledger for its state to be changed, and lock it until the session ends.

    A worker that seemed dead may settle an event just when its job is given up or retried: whoever changes the state
    last without having looked would undo that. A session that locks the proposal of the event, too, does so first.

    Raises:
        NotFoundError: there is no such event.
    """
    event = session.get(LabelEvent, event_id, with_for_update=True, populate_existing=True)
    if event is None:
        raise NotFoundError(f"there is no label event {event_id}")
    return event


def replay(session: Session, event_id: int) -> LabelEvent:
    """Ingest a failed event again, for instance after a fault in the server was fixed.

    Raises:
        NotFoundError: there is no such event.
        ConflictError: it has not failed.
    """
    event = lock_event(session, event_id)
    if event.state is not EventState.FAILED:
        raise ConflictError(f"label event {event_id} is {event.state}; only a failed event can be replayed")
    reopen(event)
    jobs.enqueue(session, JobKind.INGEST_LABEL, str(event_id), event_id=event_id)
    return event


def mark_failed(session: Session, event_id: int, error: str) -> None:
    """Mark a received event as failed, so that it can be replayed; an event in another state is not changed."""
    event = lock_event(session, event_id)
    if event.state is EventState.RECEIVED:
        settle(event, EventState.FAILED, error)


def reopen(event: LabelEvent) -> None:
    """Return a failed event, which is locked, to the state "received"."""
    if event.state is EventState.FAILED:
        event.state, event.detail, event.applied_at = EventState.RECEIVED, None, None


def settle(event: LabelEvent, state: EventState, detail: str | None = None) -> None:
    """Store the final state of an event, and the time."""
    event.state, event.detail, event.applied_at = state, detail, now()


def find_proposal(session: Session, uid: str | None) -> Proposal | None:
    """Return the proposal with this uid; None for tasks that are not ours."""
    return session.scalar(select(Proposal).where(Proposal.uid == uid)) if uid else None


def lock(session: Session, proposal: Proposal) -> Proposal:
    """Lock a proposal until the session ends, and return it freshly loaded (`catalog.proposal_locks`)."""
    return proposal_locks.lock(session, proposal.id)


def is_skipped(session: Session, proposal: Proposal) -> bool:
    """Return whether the newest applied state of any annotation of a proposal, not deleted since, is a skip."""
    session.flush()
    of_proposal = select(LabelEvent).where(LabelEvent.proposal_id == proposal.id).order_by(LabelEvent.id)
    events = [
        event
        for event in session.scalars(of_proposal)
        if event.action not in event_order.SAVED or event.state is EventState.APPLIED
    ]
    return any(
        (annotation.detail or "").partition(":")[0] == SKIPPED and event_order.exists(events, annotation)
        for annotation in event_order.annotations(events)
    )


def current(session: Session, patch_id: int) -> list[Label]:
    """Return the labels of a patch that are not superseded, newest first, with their proposals loaded."""
    statement = select(Label).where(Label.patch_id == patch_id, Label.superseded_at.is_(None))
    newest_first = statement.order_by(NEWEST_FIRST)
    return list(session.scalars(newest_first.options(joinedload(Label.proposal))))


def supersede(
    session: Session,
    project_id: int | None,
    annotation_id: int | None,
    created_at: datetime | None = None,
    *,
    before: int | None = None,
) -> list[Label]:
    """Mark the label of an annotation that was updated, skipped or deleted as superseded; keep its row and mask.

    Args:
        session: a writing session.
        project_id: the project of the annotation.
        annotation_id: its id.
        created_at: when it was created; None if its event did not say.
        before: id of the event that ends the label; one of a state that was received after it stays. None: of any.
    """
    same_creation = LabelEvent.annotation_created_at.is_not_distinct_from(created_at)
    of_annotation = (Label.project_id == project_id) & (Label.annotation_id == annotation_id) & same_creation
    return _supersede_where(session, of_annotation if before is None else of_annotation & (LabelEvent.id < before))


def _supersede_where(session: Session, condition: ColumnElement[bool]) -> list[Label]:
    """Mark the labels that fulfil a condition, on labels and their events, as superseded; return them."""
    statement = select(Label).join(LabelEvent, Label.event_id == LabelEvent.id)
    ended = list(session.scalars(statement.where(condition, Label.superseded_at.is_(None))))
    for label in ended:
        label.superseded_at = now()
    session.flush()
    return ended


def store(session: Session, label: Label) -> None:
    """Add a label, supersede the annotation's earlier one, and update the states of proposal, patch and round."""
    if label.annotation_id is not None:  # nothing stands for the same as a correction on the map
        created_at = session.get_one(LabelEvent, label.event_id).annotation_created_at
        supersede(session, label.project_id, label.annotation_id, created_at)
    session.add(label)
    session.flush()
    refresh_states(session, session.get_one(Proposal, label.proposal_id), skipped=False)


def refresh_states(session: Session, proposal: Proposal, *, skipped: bool) -> None:
    """Set the states of a proposal, its patch and its round to those implied by the labels that are not superseded.

    Its patch is locked until the session ends: what others change in proposals of the patch is seen, or sees this.

    Args:
        session: a writing session; before the states of several proposals, it locks all of them
            (`catalog.proposal_locks.lock_all`).
        proposal: locked; a withdrawn one stays withdrawn.
        skipped: whether its annotator skipped it.
    """
    if proposal.state is not ProposalState.WITHDRAWN:
        proposal.state = _implied_proposal_state(session, proposal, skipped=skipped)
    session.flush()
    proposal_locks.lock_patches(session, [proposal.patch_id])
    session.get_one(Patch, proposal.patch_id).state = _implied_patch_state(session, proposal.patch_id)
    if proposal.round_id is not None:
        rounds.complete_if_answered(session, proposal.round_id)


def _implied_proposal_state(session: Session, proposal: Proposal, *, skipped: bool) -> ProposalState:
    own = select(Label.id).where(Label.proposal_id == proposal.id, Label.superseded_at.is_(None))
    if session.scalar(own.limit(1)) is not None:
        return ProposalState.LABELLED
    if skipped:
        return ProposalState.SKIPPED
    withdrawn = select(WithdrawnLabel.label_id).join(WithdrawnLabel.label).where(Label.proposal_id == proposal.id)
    if session.scalar(withdrawn.limit(1)) is not None:
        return ProposalState.ABANDONED  # nobody is waited for: its patch may be proposed again
    if proposal.round_id is None or _is_scene_removed(session, proposal):
        return ProposalState.ABANDONED
    is_abandoned = rounds.get(session, proposal.round_id).state is RoundState.ABANDONED
    return ProposalState.ABANDONED if is_abandoned else ProposalState.PUBLISHED


def _is_scene_removed(session: Session, proposal: Proposal) -> bool:
    of_patch = select(Scene.state).join(Patch, Patch.scene_id == Scene.id).where(Patch.id == proposal.patch_id)
    return session.scalar(of_patch) is SceneState.REMOVED


def lock_with_scene(session: Session, proposal: Proposal) -> Proposal:
    """Lock a proposal that may wait again, and hold its scene: if that is removed meanwhile, nobody is to be asked."""
    locked = lock(session, proposal)
    scene_locks.hold(session, session.get_one(Patch, locked.patch_id).scene_id)
    return locked


def _implied_patch_state(session: Session, patch_id: int) -> PatchState:
    """Return the state of a patch that its labels and its proposals in all rounds imply."""
    states = set(session.scalars(select(Proposal.state).where(Proposal.patch_id == patch_id)))
    if states & {ProposalState.CHOSEN, ProposalState.PUBLISHED}:
        return PatchState.PROPOSED
    standing = current(session, patch_id)
    if standing:
        size = session.get_one(Patch, patch_id).size_px
        is_covered = covers_patch((label.proposal.region for label in standing), size, size)
        return PatchState.LABELLED if is_covered else PatchState.PARTLY_LABELLED
    return PatchState.SKIPPED if ProposalState.SKIPPED in states else PatchState.UNLABELLED


def delete_task(session: Session, proposal: Proposal, deletion: LabelEvent) -> None:
    """Supersede the labels drawn on a deleted task, and withdraw its proposal unless the task was a copy.

    A proposal whose task was never noted had this one: of copies the one that is kept is noted before others go. The
    deletion may be applied late: a task that returned since, and what was received of it since, stays.

    Args:
        session: a writing session.
        proposal: the proposal of the task.
        deletion: the event, which names the task.
    """
    proposal = lock_with_scene(session, proposal)
    of_task = (LabelEvent.project_id == deletion.project_id) & (LabelEvent.task_id == deletion.task_id)
    before = LabelEvent.id < deletion.id
    _supersede_where(session, of_task & before & (Label.proposal_id == proposal.id))
    since = select(LabelEvent.id).where(of_task, LabelEvent.id > deletion.id, LabelEvent.proposal_id == proposal.id)
    has_returned = session.scalar(since.where(LabelEvent.action == event_order.TASK_RETURNED).limit(1)) is not None
    rounds.note_task(proposal, deletion.project_id, deletion.task_id)
    if not has_returned and (proposal.project_id, proposal.task_id) == (deletion.project_id, deletion.task_id):
        proposal.state = ProposalState.WITHDRAWN
    refresh_states(session, proposal, skipped=is_skipped(session, proposal))


def return_task(session: Session, proposal: Proposal, project_id: int, task_id: int) -> None:
    """Publish a proposal again whose deleted task exists again, because Label Studio's database was restored.

    Unless its scene was removed: then it is abandoned.

    The labels come back with the annotations of the task, which are events of their own.
    """
    proposal = lock_with_scene(session, proposal)
    if proposal.state is ProposalState.WITHDRAWN:
        proposal.state = ProposalState.PUBLISHED
        rounds.move_task(proposal, project_id, task_id)
    refresh_states(session, proposal, skipped=is_skipped(session, proposal))


def withdraw(session: Session, proposal: Proposal) -> None:
    """Withdraw a proposal that cannot be published, which frees its patch; its round is complete without it."""
    proposal = lock(session, proposal)
    proposal.state = ProposalState.WITHDRAWN
    refresh_states(session, proposal, skipped=False)


def withdraw_project(session: Session, project_id: int) -> int:
    """Withdraw the unanswered proposals of a deleted project, which frees their patches and ends their rounds.

    Labels stay: their masks are in our store.

    Returns:
        Number of proposals withdrawn.
    """
    waiting = (Proposal.project_id == project_id) & (Proposal.state == ProposalState.PUBLISHED)
    withdrawn = proposal_locks.lock_all(session, waiting)
    for proposal in withdrawn:
        proposal.state = ProposalState.WITHDRAWN
    for proposal in withdrawn:
        refresh_states(session, proposal, skipped=False)
    for round_id in {proposal.round_id for proposal in withdrawn if proposal.round_id is not None}:
        rounds.note_project_deleted(session, round_id, project_id)
    return len(withdrawn)
