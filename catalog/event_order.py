"""Which events of the ledger are about the same annotation, and which of its states is the current one.

Label Studio gives ids away again, and its clock may be set: ahead, back, or by the restoration of its whole machine.
So neither an id nor a time decides here.

- **Identity.** An annotation is its id together with its proposal, the time of its creation and Label Studio's
  ``unique_id``, as far as an event tells them (`is_same`).
- **Order.** States of an annotation come in the order in which they were received: that of the ids of their rows.
- **Doubt.** That order and what Label Studio says may contradict each other: a later event has an earlier time, a state
  comes after the deletion, an id still belongs to another annotation. Then the event is late, or the clock was set
  back, or the database was restored. The ledger cannot tell (`doubt`): the worker asks Label Studio what it has now,
  and records that (`services.label_comparison`). Events recorded by reconciliation are never in doubt: they were read.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session, aliased

from catalog.records import EventState, LabelEvent

WEBHOOK = "webhook"
"""Origin of the events that Label Studio sent."""
RECONCILIATION = "reconciliation"
"""Origin of the events that were recorded because Label Studio, when asked, had something else than the ledger."""
MAP = "map"
"""Origin of the corrections that people submit on our map. Label Studio knows nothing of them."""
CORRECTED = "MAP_CORRECTED"
"""Action of such an event: one patch of a correction."""
SAVED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
"""Actions of events that hold a state of an annotation."""
ANNOTATION_DELETED = "ANNOTATIONS_DELETED"
TASK_DELETED = "TASKS_DELETED"
TASK_RETURNED = "TASK_RETURNED"
PROJECT_DELETED = "PROJECT_DELETED"
WITHOUT_EFFECT = (EventState.FAILED, EventState.SUPERSEDED)
"""States of events that changed nothing: a deletion could not be applied, or Label Studio refuted it."""


def history(
    session: Session, project_id: int | None, annotation_ids: Collection[int | None], task_ids: Collection[int | None]
) -> list[LabelEvent]:
    """Return the events about annotations and tasks with these ids, in the order in which they were received.

    Args:
        session: a session.
        project_id: their project.
        annotation_ids: ids of annotations; each may have belonged to several.
        task_ids: ids of tasks whose deletions and returns are wanted.
    """
    about_tasks = LabelEvent.annotation_id.is_(None) & LabelEvent.task_id.in_(task_ids)
    events = select(LabelEvent).where(
        LabelEvent.project_id == project_id, or_(LabelEvent.annotation_id.in_(annotation_ids), about_tasks)
    )
    return list(session.scalars(events.order_by(LabelEvent.id)))


def history_of(session: Session, event: LabelEvent) -> list[LabelEvent]:
    """Return the events about the ids of an event's annotation and task, itself included if it is stored."""
    annotation_ids = () if event.annotation_id is None else (event.annotation_id,)
    task_ids = () if event.task_id is None else (event.task_id,)
    return history(session, event.project_id, annotation_ids, task_ids)


def is_same(one: LabelEvent, other: LabelEvent) -> bool:
    """Return whether two events are about the same annotation, as far as both tell."""

    def agree(mine: object, others: object) -> bool:
        return mine is None or others is None or mine == others

    return (
        one.annotation_id is not None
        and (one.project_id, one.annotation_id) == (other.project_id, other.annotation_id)
        and agree(one.annotation_created_at, other.annotation_created_at)
        and agree(one.annotation_uid, other.annotation_uid)
        and agree(one.proposal_id, other.proposal_id)
    )


def is_same_state(one: LabelEvent, other: LabelEvent) -> bool:
    """Return whether two events hold the same state of the same annotation."""
    digests = {one.content_sha256, other.content_sha256} - {None}  # events of older releases have none
    return is_same(one, other) and one.annotation_updated_at == other.annotation_updated_at and len(digests) <= 1


def is_same_task(one: LabelEvent, other: LabelEvent) -> bool:
    """Return whether two events are about the same task, or about annotations of it."""
    return (one.project_id, one.task_id, one.proposal_id) == (other.project_id, other.task_id, other.proposal_id)


def newest(events: Sequence[LabelEvent], annotation: LabelEvent) -> LabelEvent | None:
    """Return the newest event that says how an annotation is now: a state of it, or its deletion.

    Args:
        events: from `history`.
        annotation: an event about the annotation; it names the task, too.

    Returns:
        None if the ledger does not know the annotation, or not since its task returned. Superseded events do not
        count, since they came late, nor do deletions that failed; a state that failed does, since Label Studio has it.
    """
    for event in reversed(events):
        if event.state is EventState.SUPERSEDED:
            continue
        if event.action in SAVED and is_same(event, annotation):
            return event
        if _ends(event, annotation):
            return event
        if event.action == TASK_RETURNED and is_same_task(event, annotation):
            return None
    return None


def exists(events: Sequence[LabelEvent], annotation: LabelEvent) -> bool:
    """Return whether an annotation exists in Label Studio, according to the ledger; arguments as for `newest`."""
    event = newest(events, annotation)
    return event is not None and event.action in SAVED


def annotations(events: Iterable[LabelEvent]) -> list[LabelEvent]:
    """Return one event with a state of each annotation, the last received."""
    found: list[LabelEvent] = []
    for event in events:
        if event.action in SAVED:
            found = [other for other in found if not is_same(other, event)] + [event]
    return found


def _ends(event: LabelEvent, annotation: LabelEvent) -> bool:
    """Return whether an event tells of the deletion of an annotation, or of its task, and is not without effect."""
    if event.state in WITHOUT_EFFECT:
        return False
    if event.action == ANNOTATION_DELETED:
        return is_same(event, annotation)
    return event.action == TASK_DELETED and is_same_task(event, annotation)


def why_ignored(session: Session, event: LabelEvent) -> str | None:
    """Return why a state of an annotation is not applied; None if it is applied."""
    for other in history_of(session, event):
        if event.id is None or other.id <= event.id:
            continue
        if other.action in SAVED and other.state is EventState.APPLIED and is_same(other, event):
            return f"a newer state of this annotation has been applied (label event {other.id})"
        if _ends(other, event):
            return _DELETED[other.action].format(other.id)
    return None


def is_ignored() -> ColumnElement[bool]:
    """Return `why_ignored` as a condition on the events of a query: whether there is a reason."""
    later = aliased(LabelEvent)
    agree = [
        or_(mine.is_(None), others.is_(None), mine == others)
        for mine, others in (
            (LabelEvent.annotation_created_at, later.annotation_created_at),
            (LabelEvent.annotation_uid, later.annotation_uid),
            (LabelEvent.proposal_id, later.proposal_id),
        )
    ]
    has_effect = later.state.not_in(WITHOUT_EFFECT)
    tells = or_(
        and_(later.action.in_(SAVED), later.state == EventState.APPLIED),
        and_(later.action == ANNOTATION_DELETED, has_effect),
    )
    found = select(later.id).where(later.project_id == LabelEvent.project_id, later.id > LabelEvent.id)
    of_annotation = found.where(later.annotation_id == LabelEvent.annotation_id, *agree, tells)
    of_task = found.where(
        later.task_id == LabelEvent.task_id,
        later.proposal_id.is_not_distinct_from(LabelEvent.proposal_id),
        later.action == TASK_DELETED,
        has_effect,
    )
    return or_(of_annotation.correlate(LabelEvent).exists(), of_task.correlate(LabelEvent).exists())


_DELETED = {
    ANNOTATION_DELETED: "it has been deleted (label event {})",
    TASK_DELETED: "its task has been deleted, and all annotations with it (label event {})",
}


def doubt(session: Session, event: LabelEvent) -> str | None:
    """Return what speaks against the order in which an event was received; None if nothing does."""
    if event.origin == RECONCILIATION:
        return None
    earlier = [
        other
        for other in history_of(session, event)
        if (event.id is None or other.id < event.id) and other.state not in WITHOUT_EFFECT
    ]
    if event.action in SAVED:
        return _doubt_state(earlier, event)
    if event.action == ANNOTATION_DELETED:
        about = [other for other in earlier if other.annotation_id == event.annotation_id]
        if len(annotations(about)) > 1:
            return f"annotations with the id {event.annotation_id} have existed before"
        if any(other.action == ANNOTATION_DELETED for other in about):
            return "it was deleted before"
    if event.action == TASK_DELETED:
        others = {other.proposal_id for other in earlier if other.task_id == event.task_id} - {event.proposal_id}
        if others:
            return f"tasks with the id {event.task_id} have existed before"
    return None


def _doubt_state(earlier: Sequence[LabelEvent], event: LabelEvent) -> str | None:
    last = newest(earlier, event)
    if last is not None and last.action not in SAVED:
        return f"it came after its deletion (label event {last.id})"
    for other in earlier:
        if other.action not in SAVED or not is_same(other, event) or is_same_state(other, event):
            continue
        if time_of(other) >= time_of(event):
            return f"its time is not later than that of label event {other.id}, which came before it"
    for other in annotations(earlier):
        if other.annotation_id == event.annotation_id and not is_same(other, event) and exists(earlier, other):
            return f"its id belongs to another annotation (label event {other.id})"
    return None


def time_of(event: LabelEvent) -> float:
    """Return the time of a state by Label Studio's clock, in seconds; unreadable times come first."""
    return event.annotation_updated_at.timestamp() if event.annotation_updated_at is not None else 0.0
