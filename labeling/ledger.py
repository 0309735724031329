"""What a ledger of label events needs to know of one besides its body."""

from datetime import datetime
from typing import TypedDict

from labeling.events import AnnotationDeleted, AnnotationSaved, LabelEvent, TaskDeleted


class LedgerEntry(TypedDict):
    """The keys of a label event; None where Label Studio does not tell."""

    dedupe_key: str
    action: str
    project_id: int
    task_id: int | None
    annotation_id: int | None
    annotation_updated_at: datetime | None


def ledger_entry(event: LabelEvent) -> LedgerEntry:
    """Return the keys under which a ledger finds this event again."""
    if isinstance(event, AnnotationSaved):
        return LedgerEntry(
            dedupe_key=event.dedupe_key,
            action=event.action,
            project_id=event.project_id,
            task_id=event.task_id,
            annotation_id=event.annotation_id,
            annotation_updated_at=event.updated_at,
        )
    if isinstance(event, AnnotationDeleted):
        return _deletion("ANNOTATIONS_DELETED", event, None, event.annotation_id)
    return _deletion("TASKS_DELETED", event, event.task_id, None)


def _deletion(
    action: str, event: AnnotationDeleted | TaskDeleted, task_id: int | None, annotation_id: int | None
) -> LedgerEntry:
    return LedgerEntry(
        dedupe_key=event.dedupe_key,
        action=action,
        project_id=event.project_id,
        task_id=task_id,
        annotation_id=annotation_id,
        annotation_updated_at=None,
    )
