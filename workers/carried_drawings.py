"""Drawings sent to a double in the moment in which it was deleted: they are made again on the task that stays.

Label Studio looks and deletes in one call (`labeling.task_calls.TaskCalls.delete_untouched`), but not in one
transaction: an annotation that it is storing meanwhile is acknowledged, told by a webhook, and gone with its task.
"""

import json
import logging
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from catalog import event_order
from catalog.context import Catalog
from catalog.records import LabelEvent
from labeling.client import LabelStudio
from labeling.errors import EventError, LabelStudioError
from labeling.events import AnnotationSaved, TaskDeleted, parse_event, saved_payload
from labeling.task_calls import ReadTask
from services.label_studio import label_studio
from workers.label_drawing import event_of_row

log = logging.getLogger(__name__)


def carry_over(catalog: Catalog, deletion: LabelEvent, deleted: TaskDeleted) -> None:
    """Make the drawings that a double had when it was deleted again, unless Label Studio has them still.

    Args:
        catalog: the catalog.
        deletion: the row of the deletion.
        deleted: what it says; without a task that stays, a person deleted the task, and nothing is done.

    Raises:
        EventError: Label Studio refuses to take a drawing.
        LabelStudioError: Label Studio does not answer.
    """
    if deleted.kept is None:
        return
    with catalog.read() as session:
        drawn = [row for row in _drawings(session, deletion) if row.id < deletion.id]
    _make_again(catalog, deleted, drawn)


def carry_late(catalog: Catalog, event: LabelEvent) -> None:
    """Make a drawing again whose event was received after the deletion of its task, if that was a double.

    Raises:
        EventError: Label Studio refuses to take it.
        LabelStudioError: Label Studio does not answer.
    """
    with catalog.read() as session:
        deletions = select(LabelEvent).where(
            LabelEvent.project_id == event.project_id,
            LabelEvent.task_id == event.task_id,
            LabelEvent.proposal_id == event.proposal_id,
            LabelEvent.action == event_order.TASK_DELETED,
        )
        newest = deletions.order_by(LabelEvent.id.desc()).limit(1).options(undefer(LabelEvent.body))
        deletion = session.scalar(newest)
        drawn = [] if deletion is None else [row for row in _drawings(session, deletion) if row.id == event.id]
    if deletion is not None:
        deleted = event_of_row(deletion, catalog.settings.webhook_max_bytes)
        if isinstance(deleted, TaskDeleted) and deleted.kept is not None:
            _make_again(catalog, deleted, drawn)


def _drawings(session: Session, deletion: LabelEvent) -> list[LabelEvent]:
    """Return the newest state of each annotation on a deleted task that had not been deleted itself, with its body.

    A state may have been superseded meanwhile: because of the deletion of the task.
    """
    of_task = select(LabelEvent).where(
        LabelEvent.project_id == deletion.project_id,
        LabelEvent.task_id == deletion.task_id,
        LabelEvent.proposal_id == deletion.proposal_id,
        LabelEvent.action.in_(event_order.SAVED),
    )
    rows = session.scalars(of_task.order_by(LabelEvent.id).options(undefer(LabelEvent.body))).all()
    known = event_order.history(session, deletion.project_id, {row.annotation_id for row in rows}, [])
    gone = [other for other in known if other.action == event_order.ANNOTATION_DELETED]
    return [
        row
        for row in event_order.annotations(rows)
        if not any(other.id > row.id and event_order.is_same(other, row) for other in gone)
    ]


def _make_again(catalog: Catalog, deleted: TaskDeleted, drawn: Sequence[LabelEvent]) -> None:
    """Make drawings again on the task that stays, except those that are on it, or on the deleted one, already."""
    if not drawn or deleted.kept is None:
        return
    studio = label_studio(catalog)
    tasks = list(studio.read_tasks(deleted.project_id, [deleted.task_id, deleted.kept]))
    present = {_content(saved) for task in tasks for saved in _annotations(task)}
    for row in drawn:
        saved = event_of_row(row, catalog.settings.webhook_max_bytes)
        if isinstance(saved, AnnotationSaved) and _content(saved) not in present:
            _submit(studio, deleted, saved)


def _submit(studio: LabelStudio, deleted: TaskDeleted, saved: AnnotationSaved) -> None:
    kept = deleted.kept or 0
    try:
        number = studio.annotate(
            kept,
            saved.result,
            lead_time_s=saved.lead_time_s,
            skip=saved.was_cancelled,
            completed_by=saved.completed_by,
        )
    except LabelStudioError as error:
        if not error.refused:
            raise
        raise EventError(
            f"annotation {saved.annotation_id} was submitted to task {deleted.task_id} while that was deleted as a "
            f"double of task {kept}, and could not be made again there: {error}"
        ) from error
    log.warning(
        "annotation %d was submitted to task %d while that was deleted as a double; it is annotation %d of task %d now",
        saved.annotation_id,
        deleted.task_id,
        number,
        kept,
    )


def _annotations(task: ReadTask) -> list[AnnotationSaved]:
    events = []
    for annotation in task["annotations"]:
        body = json.dumps(saved_payload(annotation, task)).encode()
        events += [event for event in parse_event(body, len(body)) if isinstance(event, AnnotationSaved)]
    return events


def _content(saved: AnnotationSaved) -> tuple[str, int | None, float | None]:
    return saved.content_sha256, saved.completed_by, saved.lead_time_s
