"""Drawings sent to a double in the moment in which it was deleted: they are made again on the task that stays.

Label Studio looks and deletes in one call (`labeling.task_calls.TaskCalls.delete_untouched`), but not in one
transaction: an annotation that it is storing meanwhile is acknowledged, told by a webhook, and gone with its task.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, undefer

from catalog import event_order
from catalog.context import Catalog
from catalog.records import EventState, LabelEvent
from labeling.client import LabelStudio
from labeling.errors import EventError, LabelStudioError
from labeling.events import AnnotationSaved, TaskDeleted, read_saved
from labeling.task_calls import ReadTask
from services.label_studio import label_studio
from workers.label_drawing import event_of_row

log = logging.getLogger(__name__)

# So long after we decided to delete a double its deletion is ours; later a person may delete one that stayed.
_OURS_WITHIN: Final = timedelta(minutes=10)


def carry_over(catalog: Catalog, event: LabelEvent) -> None:
    """Make drawings on a double that we deleted again on the task that stays, unless Label Studio has them still.

    What a person deletes is gone, with what was drawn on it.

    Args:
        catalog: the catalog.
        event: the deletion of a task, or a state of an annotation that was received after it.

    Raises:
        EventError: Label Studio refuses to take a drawing.
        LabelStudioError: Label Studio does not answer.
    """
    with catalog.read() as session:
        kept = _kept(session, event, catalog.settings.webhook_max_bytes)
        drawings = [] if kept is None else _drawings(session, event)
    is_deletion = event.action == event_order.TASK_DELETED
    drawn = [row for row in drawings if (row.id < event.id if is_deletion else row.id == event.id)]
    if kept is not None and drawn:
        _make_again(catalog, event, kept, drawn)


def _of_task(event: LabelEvent, *actions: str) -> Select[LabelEvent]:
    """Select the events of these actions about the task of an event, with their bodies, in their order."""
    about_it = (
        LabelEvent.project_id == event.project_id,
        LabelEvent.task_id == event.task_id,
        LabelEvent.proposal_id == event.proposal_id,
        LabelEvent.action.in_(actions),
    )
    return select(LabelEvent).where(*about_it).order_by(LabelEvent.id).options(undefer(LabelEvent.body))


def _kept(session: Session, event: LabelEvent, max_bytes: int) -> int | None:
    """Return the task that stays, if the task of an event is a double that we have decided to delete a moment ago.

    Label Studio's own webhook may tell of the same deletion once more, and does not know why.
    """
    for row in session.scalars(_of_task(event, event_order.TASK_DELETED)):
        if row.origin == event_order.RECONCILIATION and abs(event.received_at - row.received_at) < _OURS_WITHIN:
            deleted = event_of_row(row, max_bytes)
            if isinstance(deleted, TaskDeleted) and deleted.kept is not None:
                return deleted.kept
    return None


def _drawings(session: Session, event: LabelEvent) -> list[LabelEvent]:
    """Return the newest state of each annotation on a deleted task that had not been deleted itself, with its body.

    A state may have been superseded meanwhile: because of the deletion of the task.
    """
    rows = session.scalars(_of_task(event, *event_order.SAVED)).all()
    known = event_order.history(session, event.project_id, {row.annotation_id for row in rows}, [])
    gone = [
        other
        for other in known
        if other.action == event_order.ANNOTATION_DELETED and other.state is not EventState.SUPERSEDED  # refuted
    ]
    return [
        row
        for row in event_order.annotations(rows)
        if not any(other.id > row.id and event_order.is_same(other, row) for other in gone)
    ]


def _make_again(catalog: Catalog, event: LabelEvent, kept: int, drawn: Sequence[LabelEvent]) -> None:
    """Make drawings again on the task that stays, except those that are on it, or on the deleted one, already."""
    studio = label_studio(catalog)
    tasks = list(studio.read_tasks(event.project_id or 0, [event.task_id or 0, kept]))
    present = {_content(saved) for task in tasks for saved in _annotations(task)}
    for row in drawn:
        saved = event_of_row(row, catalog.settings.webhook_max_bytes)
        if isinstance(saved, AnnotationSaved) and _content(saved) not in present:
            _submit(studio, kept, saved)


def _submit(studio: LabelStudio, kept: int, saved: AnnotationSaved) -> None:
    try:
        number = studio.annotate(
            kept,
            saved.result,
            lead_time_s=saved.lead_time_s,
            skip=saved.was_cancelled,
            completed_by=saved.drawn_by,
        )
    except LabelStudioError as error:
        if not error.refused:
            raise
        raise EventError(
            f"annotation {saved.annotation_id} was submitted to task {saved.task_id} while that was deleted as a "
            f"double of task {kept}, and could not be made again there: {error}"
        ) from error
    log.warning(
        "annotation %d was submitted to task %d while that was deleted as a double; it is annotation %d of task %d now",
        saved.annotation_id,
        saved.task_id,
        number,
        kept,
    )


def _annotations(task: ReadTask) -> list[AnnotationSaved]:
    events = (read_saved(annotation, task)[0] for annotation in task["annotations"])
    return [event for event in events if isinstance(event, AnnotationSaved)]


def _content(saved: AnnotationSaved) -> tuple[str, int | None, float | None]:
    return saved.content_sha256, saved.drawn_by, saved.lead_time_s
