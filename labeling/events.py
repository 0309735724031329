"""Label events: what Label Studio tells us through its webhook, and what its API shows when a webhook was lost."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

from labeling.errors import EventError
from labeling.tasks import PROPOSAL

SUBSCRIBED: Final = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
"""The webhook actions we act upon."""
_IRRELEVANT = frozenset(
    {
        "PROJECT_CREATED",
        "PROJECT_UPDATED",
        "PROJECT_DELETED",
        "TASKS_CREATED",
        "ANNOTATIONS_CREATED",  # bulk imports; reconciliation finds what they bring
        "LABEL_LINK_CREATED",
        "LABEL_LINK_UPDATED",
        "LABEL_LINK_DELETED",
    }
)

_MAX_SECONDS = 1e9  # some 30 years; Python's JSON knows NaN, Infinity and integers beyond any float
_MAX_ID = 2**63 - 1

SavedAction = Literal["ANNOTATION_CREATED", "ANNOTATION_UPDATED"]


@dataclass(frozen=True)
class AnnotationSaved:
    """An annotation was submitted, changed or skipped.

    Attributes:
        action: Which webhook action told it.
        annotation_id: Label Studio's id; never re-used for another task's annotation while the row lives.
        task_id: Label Studio's id of the task; re-used after deletion, so go by `proposal`.
        project_id: Label Studio's id of the project.
        proposal: Our name of the proposal; None if the task is not one of ours.
        updated_at: When it was saved, in UTC; tells the versions of one annotation apart.
        was_cancelled: True if skipped. The result then holds the untouched pre-annotation: never learn from it.
        result: The drawn regions as parsed JSON, see `labeling.regions.decode_result`. Empty without
            `was_cancelled` is a statement: no ice here.
        completed_by: Label Studio's id of the annotator.
        lead_time_s: Seconds spent on it so far; grows with every update.
    """

    action: SavedAction
    annotation_id: int
    task_id: int
    project_id: int
    proposal: str | None
    updated_at: datetime
    was_cancelled: bool
    result: list[Any]
    completed_by: int | None
    lead_time_s: float | None

    @property
    def annotation_updated_at(self) -> datetime:
        """Time of the version, under the name that every kind of event has for it."""
        return self.updated_at

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of one version, whether by webhook or found by reconciliation."""
        return f"saved:{self.project_id}:{self.annotation_id}:{self.updated_at.isoformat()}"


@dataclass(frozen=True)
class AnnotationDeleted:
    """An annotation was deleted. Label Studio tells neither its task nor its content."""

    action: ClassVar = "ANNOTATIONS_DELETED"
    task_id: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None

    annotation_id: int
    project_id: int

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of this deletion; an annotation is deleted once."""
        return f"annotation-deleted:{self.project_id}:{self.annotation_id}"


@dataclass(frozen=True)
class TaskDeleted:
    """A task was deleted, and its annotations with it, of which Label Studio says nothing more."""

    action: ClassVar = "TASKS_DELETED"
    annotation_id: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None

    task_id: int
    project_id: int

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of this deletion, and for a later task that was given the same id."""
        return f"task-deleted:{self.project_id}:{self.task_id}"


LabelEvent = AnnotationSaved | AnnotationDeleted | TaskDeleted


def parse_event(body: bytes, max_bytes: int) -> list[LabelEvent]:
    """Read the body of a webhook.

    Args:
        body: As received; UTF-8 JSON.
        max_bytes: Largest body accepted. Label Studio sends the shown prediction along: expect megabytes.

    Returns:
        The events in it: several for a bulk deletion, none for actions that do not concern us.

    Raises:
        EventError: If the body is too large, not JSON, of an unknown action, or a field is missing or of a
            wrong type; the message names the field.
    """
    if len(body) > max_bytes:
        raise EventError(f"The label event has {len(body)} bytes; at most {max_bytes} are accepted.")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventError(f"The label event is not JSON: {error}.") from error
    if not isinstance(payload, dict):
        raise EventError(f"The label event is {type(payload).__name__}; expected an object.")
    action = _field(payload, "action", str)
    if action in _IRRELEVANT:
        return []
    if action not in _PARSERS:
        raise EventError(
            f"Unknown action {action!r}; expected one of {', '.join(SUBSCRIBED)}. "
            "Let `ensure_webhook` set up the webhook anew."
        )
    return _PARSERS[action](payload)


def saved_from_api(annotation: Mapping[str, Any], task: Mapping[str, Any]) -> AnnotationSaved:
    """Read an annotation as the tasks API returns it, to make good a webhook that never came.

    Args:
        annotation: One of the task's ``annotations``.
        task: The task, with ``id``, ``project`` and ``data``, see `labeling.client.LabelStudio.changed_tasks`.

    Returns:
        The same event (and `dedupe_key`) that the webhook would have brought. Its action says created if the
        annotation was never changed since, which the API tells only by its two times.

    Raises:
        EventError: If a field is missing or of a wrong type; the message names the field.
    """
    created, updated = (_time(annotation, f"annotation.{key}") for key in ("created_at", "updated_at"))
    # Django stamps the two one after the other, microseconds apart, when a row is first written.
    changed_later = (updated - created).total_seconds() > 0.01
    return _saved("ANNOTATION_UPDATED" if changed_later else "ANNOTATION_CREATED", annotation, task)


def parse_time(text: str) -> datetime:
    """Read a time as Label Studio writes it.

    Args:
        text: ISO 8601 with offset, such as ``2026-11-21T08:29:52.946621Z``.

    Returns:
        An aware time in UTC.

    Raises:
        EventError: If it is anything else.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise EventError(f"The time {text!r} is not ISO 8601.") from error
    if time.tzinfo is None:
        raise EventError(f"The time {text!r} has no offset from UTC; expected a trailing Z.")
    return time.astimezone(UTC)


def _parse_created(payload: dict[str, Any]) -> list[LabelEvent]:
    return [_saved("ANNOTATION_CREATED", _field(payload, "annotation", dict), _field(payload, "task", dict))]


def _parse_updated(payload: dict[str, Any]) -> list[LabelEvent]:
    return [_saved("ANNOTATION_UPDATED", _field(payload, "annotation", dict), _field(payload, "task", dict))]


def _parse_annotations_deleted(payload: dict[str, Any]) -> list[LabelEvent]:
    return [AnnotationDeleted(*ids) for ids in _deleted_ids(payload, "annotations")]


def _parse_tasks_deleted(payload: dict[str, Any]) -> list[LabelEvent]:
    return [TaskDeleted(*ids) for ids in _deleted_ids(payload, "tasks")]


_PARSERS: dict[str, Callable[[dict[str, Any]], list[LabelEvent]]] = dict(
    zip(
        SUBSCRIBED,
        (_parse_created, _parse_updated, _parse_annotations_deleted, _parse_tasks_deleted),
        strict=True,
    )
)


def _deleted_ids(payload: dict[str, Any], key: str) -> list[tuple[int, int]]:
    project_id = _id(_field(payload, "project", dict), "project.id")
    items = _field(payload, key, list)
    if not all(isinstance(item, dict) for item in items):
        raise EventError(f"Field '{key}' holds something else than objects with an id.")
    return [(_id(item, f"{key}.id"), project_id) for item in items]


def _saved(action: SavedAction, annotation: Mapping[str, Any], task: Mapping[str, Any]) -> AnnotationSaved:
    data = _field(task, "task.data", dict)
    lead_time_s = _optional(annotation, "annotation.lead_time", (int, float))
    if lead_time_s is not None and not abs(lead_time_s) < _MAX_SECONDS:
        raise EventError(f"Field 'annotation.lead_time' is not a finite number below {_MAX_SECONDS:g} s.")
    return AnnotationSaved(
        action=action,
        annotation_id=_id(annotation, "annotation.id"),
        task_id=_id(task, "task.id"),
        project_id=_id(task, "task.project"),
        proposal=_optional(data, f"task.data.{PROPOSAL}", str),
        updated_at=_time(annotation, "annotation.updated_at"),
        was_cancelled=_field(annotation, "annotation.was_cancelled", bool),
        result=_field(annotation, "annotation.result", list),
        completed_by=_optional(annotation, "annotation.completed_by", int),
        lead_time_s=None if lead_time_s is None else float(lead_time_s),
    )


def _id(container: Mapping[str, Any], path: str) -> int:
    found: int = _field(container, path, int)
    if not 0 < found <= _MAX_ID:
        raise EventError(f"Field '{path}' is not an id; expected a positive 64-bit integer.")
    return found


def _time(container: Mapping[str, Any], path: str) -> datetime:
    try:
        return parse_time(_field(container, path, str))
    except EventError as error:
        raise EventError(f"Field '{path}': {error}") from error


def _field(container: Mapping[str, Any], path: str, kind: type | tuple[type, ...]) -> Any:
    """Return the member named last in the dotted `path`, which must be of `kind`."""
    key = path.rpartition(".")[2]
    if key not in container:
        raise EventError(f"Field '{path}' is missing from the label event.")
    value = container[key]
    # To Python a bool is an int; to Label Studio it is not.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(each.__name__ for each in kinds)
        raise EventError(f"Field '{path}' is {type(value).__name__}; expected {expected}.")
    return value


def _optional(container: Mapping[str, Any], path: str, kind: type | tuple[type, ...]) -> Any:
    """Like `_field`, but None if the member is missing or null."""
    key = path.rpartition(".")[2]
    return None if container.get(key) is None else _field(container, path, kind)
