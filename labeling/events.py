"""Label events: what Label Studio tells us through its webhook, and what its API shows when a webhook was lost.

Label Studio gives ids away again: on SQLite a new task or annotation gets the id of the newest deleted one, and a
restored database counts again from where it was. A task is therefore identified by our proposal, which its data
carries, and an annotation by its id together with the proposal, the time of its creation and Label Studio's
``unique_id``, which webhooks tell and the API does not. A state of an annotation is identified by its time and a digest
of what was drawn: clocks may be set back.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import repeat
from typing import Any, ClassVar, Final, Literal, TypeVar, get_args

import orjson

from labeling.bodies import read_json
from labeling.errors import EventError
from labeling.foreign_values import shown
from labeling.tasks import PROPOSAL

SUBSCRIBED: Final = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
"""The webhook actions we subscribe to. A project's webhook cannot tell of the project's own deletion."""
_IRRELEVANT = frozenset(
    {
        "PROJECT_CREATED",
        "PROJECT_UPDATED",
        "TASKS_CREATED",
        "ANNOTATIONS_CREATED",  # bulk imports; reconciliation finds what they bring
        "LABEL_LINK_CREATED",
        "LABEL_LINK_UPDATED",
        "LABEL_LINK_DELETED",
    }
)

_MAX_SECONDS = 1e9  # some 30 years; Python's JSON knows NaN, Infinity and integers beyond any float
_MAX_ID = 2**63 - 1
_MOST_DEPTH = 254  # levels that orjson writes; Python's own JSON fails at some 900, which depends on who calls it
_KEPT_DEPTH = _MOST_DEPTH + 10  # what is too deep stays so where this many levels are kept
_MAX_NAME = 64  # characters of a UUID or of a proposal's name
# Further from the edges of the calendar than any offset from UTC or interval that is added to a time. A machine that
# lost its clock starts in 1970.
_YEARS: Final = (1970, 9998)

SavedAction = Literal["ANNOTATION_CREATED", "ANNOTATION_UPDATED"]
T = TypeVar("T")


@dataclass(frozen=True)
class AnnotationSaved:
    """An annotation was submitted, changed or skipped.

    Attributes:
        action: Which webhook action told it.
        annotation_id: Label Studio's id; unique only together with `annotation_created_at`.
        annotation_uid: Label Studio's ``unique_id``, a UUID; None in what its API tells.
        annotation_created_at: When the annotation was first saved, in UTC.
        annotation_updated_at: When this version was saved, in UTC, by Label Studio's clock, which may be set back.
        task_id: Label Studio's id of the task; given away again after a deletion, so go by `proposal`.
        project_id: Label Studio's id of the project.
        proposal: Our name of the proposal; None if the task is not one of ours.
        was_cancelled: True if skipped. The result then holds the untouched pre-annotation: never learn from it.
        result: The drawn regions as parsed JSON, see `labeling.regions.decode_result`. Empty without
            `was_cancelled` is a statement: no ice here.
        drawn_by: Label Studio's id of the annotator: who changed it last, or else created it.
        lead_time_s: Seconds spent on it so far; grows with every update.
    """

    action: SavedAction
    annotation_id: int
    annotation_uid: str | None
    annotation_created_at: datetime
    annotation_updated_at: datetime
    task_id: int
    project_id: int
    proposal: str | None
    was_cancelled: bool
    result: list[Any]
    drawn_by: int | None
    lead_time_s: float | None

    @cached_property
    def content_sha256(self) -> str:
        """Digest of what was drawn and of whether it was skipped; equal by webhook and by the API."""
        return _checksum([self.was_cancelled, [_with_short_rle(region) for region in self.result]])

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of one version, whether by webhook or found by reconciliation."""
        times = f"{self.annotation_created_at.isoformat()}:{self.annotation_updated_at.isoformat()}"
        return f"saved:{self.project_id}:{self.annotation_id}:{times}:{self.content_sha256[:32]}"


@dataclass(frozen=True)
class AnnotationDeleted:
    """An annotation was deleted. Label Studio tells neither its task nor its content.

    Attributes:
        annotation_id: Label Studio's id of it.
        project_id: Label Studio's id of the project.
        annotation_created_at: When it was first saved; None in a webhook, which tells only the id.
    """

    action: ClassVar = "ANNOTATIONS_DELETED"
    task_id: ClassVar[None] = None
    annotation_uid: ClassVar[None] = None
    content_sha256: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None
    proposal: ClassVar[None] = None

    annotation_id: int
    project_id: int
    annotation_created_at: datetime | None = None

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of this deletion, and for later annotations with the same id."""
        return f"annotation-deleted:{self.project_id}:{self.annotation_id}"


@dataclass(frozen=True)
class TaskDeleted:
    """A task was deleted, and its annotations with it, of which Label Studio says nothing more.

    Attributes:
        task_id: Label Studio's id of it.
        project_id: Label Studio's id of the project.
        proposal: Our name of the proposal; None in a webhook, which tells only the id.
        kept: The task that stays, if this one was a double of it; None if we did not delete it as one.
    """

    action: ClassVar = "TASKS_DELETED"
    annotation_id: ClassVar[None] = None
    annotation_uid: ClassVar[None] = None
    content_sha256: ClassVar[None] = None
    annotation_created_at: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None

    task_id: int
    project_id: int
    proposal: str | None = None
    kept: int | None = None

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of this deletion, and for a later task that was given the same id."""
        return f"task-deleted:{self.project_id}:{self.task_id}"


@dataclass(frozen=True)
class TaskReturned:
    """A task that was deleted exists again, as reconciliation found: Label Studio's database was restored."""

    action: ClassVar = "TASK_RETURNED"
    annotation_id: ClassVar[None] = None
    annotation_uid: ClassVar[None] = None
    content_sha256: ClassVar[None] = None
    annotation_created_at: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None

    task_id: int
    project_id: int
    proposal: str | None

    @property
    def dedupe_key(self) -> str:
        """Equal for all returns of this task; the ledger adds the deletion that is undone."""
        return f"task-returned:{self.project_id}:{self.task_id}"


@dataclass(frozen=True)
class ProjectDeleted:
    """A project was deleted with everything in it, as reconciliation found."""

    action: ClassVar = "PROJECT_DELETED"
    task_id: ClassVar[None] = None
    annotation_id: ClassVar[None] = None
    annotation_uid: ClassVar[None] = None
    content_sha256: ClassVar[None] = None
    annotation_created_at: ClassVar[None] = None
    annotation_updated_at: ClassVar[None] = None
    proposal: ClassVar[None] = None

    project_id: int

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of this deletion, and for a project of another Label Studio with the same id."""
        return f"project-deleted:{self.project_id}"


@dataclass(frozen=True)
class UnreadableEvent:
    """An event of an action that we act upon, with a field that cannot be read.

    Attributes:
        action: The action that it names.
        reason: Which field, what was found and what was expected.
        content: Checksum of what could not be read.
        project_id: As far as it can be read, as are those that follow.
        task_id: Likewise.
        annotation_id: Likewise.
        annotation_created_at: Likewise.
        annotation_updated_at: Likewise.
        proposal: Likewise.
    """

    action: str
    reason: str
    content: str
    project_id: int | None = None
    task_id: int | None = None
    annotation_id: int | None = None
    annotation_created_at: datetime | None = None
    annotation_updated_at: datetime | None = None
    proposal: str | None = None

    annotation_uid: ClassVar[None] = None
    content_sha256: ClassVar[None] = None

    @property
    def dedupe_key(self) -> str:
        """Equal for all deliveries of the same content, and of the same version where ids and time can be read."""
        if self.project_id and self.annotation_id and self.annotation_updated_at:
            # Without a digest of the content: a webhook and the API describe what cannot be read differently.
            return f"unreadable:{self.project_id}:{self.annotation_id}:{self.annotation_updated_at.isoformat()}"
        return f"unreadable:{self.content}"


LabelEvent = AnnotationSaved | AnnotationDeleted | TaskDeleted | TaskReturned | ProjectDeleted | UnreadableEvent


def parse_event(body: bytes, max_bytes: int) -> list[LabelEvent]:
    """Read the body of a webhook.

    Args:
        body: As received; UTF-8 JSON.
        max_bytes: Largest body accepted. Label Studio sends the shown prediction along: expect megabytes.

    Returns:
        The events in it: several for a bulk deletion, none for actions that do not concern us. An event with a field
        that is missing or of a wrong type is an `UnreadableEvent`; it does not keep the others from being read.

    Raises:
        EventError: If the body is too large, no JSON object, or of an unknown action: then it is no label event.
    """
    if len(body) > max_bytes:
        raise EventError(f"The label event has {len(body)} bytes; at most {max_bytes} are accepted.")
    payload, containers = read_json(body)
    if not isinstance(payload, dict):
        raise EventError(f"The label event is {type(payload).__name__}; expected an object.")
    action = _field(payload, "action", str)
    if action in _IRRELEVANT:
        return []
    if action in get_args(SavedAction):
        return _parse_saved(payload, may_be_deep=containers > _MOST_DEPTH)
    if action not in _PARSERS:
        raise EventError(
            f"Unknown action {shown(action)}; expected one of {', '.join(SUBSCRIBED)}. "
            "Let `ensure_webhook` set up the webhook anew."
        )
    return _PARSERS[action](payload)


def saved_payload(annotation: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Compose what a webhook would have brought of an annotation that the tasks API returned.

    Args:
        annotation: One of the task's ``annotations``.
        task: The task, with ``id``, ``project`` and ``data``, see `labeling.client.LabelStudio.changed_tasks`.

    Returns:
        A payload for `parse_event`, with the same `dedupe_key` as the webhook's. Its action says created if the
        annotation was never changed since, which the API tells only by its two times.
    """
    created, updated = (_if_readable(_time, annotation, f"annotation.{key}") for key in ("created_at", "updated_at"))
    # Django stamps the two one after the other, microseconds apart, when a row is first written.
    is_changed = created is not None and updated is not None and abs((updated - created).total_seconds()) > 0.01
    return {
        "action": "ANNOTATION_UPDATED" if is_changed else "ANNOTATION_CREATED",
        "annotation": dict(annotation),
        "task": {key: task[key] for key in ("id", "project", "data")},
    }


def read_saved(annotation: Mapping[str, Any], task: Mapping[str, Any]) -> tuple[LabelEvent, bytes]:
    """Return an annotation of the tasks API as the event of its webhook, and the body of that; see `saved_payload`."""
    body = json.dumps(_bounded(saved_payload(annotation, task))).encode()
    (event,) = parse_event(body, len(body))
    return event, body


def deletion_body(event: LabelEvent) -> bytes | None:
    """Return a body that holds one deletion alone, of a body with several; None for other events.

    A bulk deletion of ten thousand tasks would otherwise be stored, and read, ten thousand times whole.
    """
    match event:
        case AnnotationDeleted():
            created_at = event.annotation_created_at and event.annotation_created_at.isoformat()
            items = {"annotations": [{"id": event.annotation_id, "created_at": created_at}]}
        case TaskDeleted():
            items = {"tasks": [{"id": event.task_id, PROPOSAL: event.proposal, "kept": event.kept}]}
        case _:
            return None
    return json.dumps({"action": event.action, "project": {"id": event.project_id}, **items}).encode()


def proposal_of(data: object) -> str | None:
    """Return our name of the proposal that a task's data carries; None if the task is not one of ours."""
    return _if_readable(_name, data, f"task.data.{PROPOSAL}") if isinstance(data, dict) else None


def parse_time(text: str) -> datetime:
    """Read a time as Label Studio writes it.

    Args:
        text: ISO 8601 with offset, such as ``2026-11-21T08:29:52.946621Z``.

    Returns:
        An aware time in UTC.

    Raises:
        EventError: If it is anything else, or outside the years 1970 to 9998.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise EventError(f"The time {shown(text)} is not ISO 8601.") from error
    if time.tzinfo is None:
        raise EventError(f"The time {shown(text)} has no offset from UTC; expected a trailing Z.")
    if not _YEARS[0] <= time.year <= _YEARS[1]:
        raise EventError(f"The time {shown(text)} lies outside the years {_YEARS[0]} to {_YEARS[1]}.")
    return time.astimezone(UTC)


def _parse_saved(payload: dict[str, Any], *, may_be_deep: bool) -> list[LabelEvent]:
    """Read the payload of a saved annotation, which has to be looked at for its depth only if it may be deep."""
    try:
        annotation, task = _field(payload, "annotation", dict), _field(payload, "task", dict)
    except EventError as error:
        return [UnreadableEvent(payload["action"], str(error), _checksum(_bounded(payload)))]
    try:
        return [_saved(payload["action"], annotation, task, may_be_deep=may_be_deep)]
    except EventError as error:
        unreadable = UnreadableEvent(
            action=payload["action"],
            reason=str(error),
            # Without the task's data: its image addresses change.
            content=_checksum(_bounded([task.get("id"), annotation])),
            project_id=_if_readable(_id, task, "task.project"),
            task_id=_if_readable(_id, task, "task.id"),
            annotation_id=_if_readable(_id, annotation, "annotation.id"),
            annotation_created_at=_if_readable(_time, annotation, "annotation.created_at"),
            annotation_updated_at=_if_readable(_time, annotation, "annotation.updated_at"),
            proposal=proposal_of(task.get("data")),
        )
        return [unreadable]


def _parse_annotations_deleted(payload: dict[str, Any]) -> list[LabelEvent]:
    return _each_item(payload, "annotations", _annotation_deleted)


def _annotation_deleted(item: dict[str, Any], project_id: int) -> LabelEvent:
    created_at = None if item.get("created_at") is None else _time(item, "annotations.created_at")
    return AnnotationDeleted(_id(item, "annotations.id"), project_id, created_at)


def _parse_tasks_deleted(payload: dict[str, Any]) -> list[LabelEvent]:
    return _each_item(payload, "tasks", _task_deleted)


def _task_deleted(item: dict[str, Any], project_id: int) -> LabelEvent:
    kept = None if item.get("kept") is None else _id(item, "tasks.kept")
    return TaskDeleted(_id(item, "tasks.id"), project_id, _name(item, f"tasks.{PROPOSAL}"), kept)


def _parse_tasks_returned(payload: dict[str, Any]) -> list[LabelEvent]:
    return _each_item(payload, "tasks", _task_returned)


def _task_returned(item: dict[str, Any], project_id: int) -> LabelEvent:
    return TaskReturned(_id(item, "tasks.id"), project_id, _name(item, f"tasks.{PROPOSAL}"))


def _parse_project_deleted(payload: dict[str, Any]) -> list[LabelEvent]:
    try:
        return [ProjectDeleted(_id(_field(payload, "project", dict), "project.id"))]
    except EventError as error:
        return [UnreadableEvent(payload["action"], str(error), _checksum(_bounded(payload)))]


_PARSERS: Final[dict[str, Callable[[dict[str, Any]], list[LabelEvent]]]] = {
    "ANNOTATIONS_DELETED": _parse_annotations_deleted,
    "TASKS_DELETED": _parse_tasks_deleted,
    "TASK_RETURNED": _parse_tasks_returned,
    "PROJECT_DELETED": _parse_project_deleted,
}


def _each_item(
    payload: dict[str, Any], key: str, read: Callable[[dict[str, Any], int], LabelEvent]
) -> list[LabelEvent]:
    """Read the items of an event about several objects, each for itself."""
    action = payload["action"]
    try:
        project_id = _id(_field(payload, "project", dict), "project.id")
        items = _field(payload, key, list)
    except EventError as error:
        return [UnreadableEvent(action, str(error), _checksum(_bounded(payload)))]
    events: list[LabelEvent] = []
    for item in items:
        try:
            events.append(read(_object(item, key), project_id))
        except EventError as error:
            content = _checksum(_bounded([action, project_id, item]))
            events.append(UnreadableEvent(action, str(error), content, project_id=project_id))
    return events


def _object(item: object, key: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise EventError(f"Field '{key}' holds {type(item).__name__}; expected objects with an id.")
    return item


def _saved(
    action: SavedAction, annotation: Mapping[str, Any], task: Mapping[str, Any], *, may_be_deep: bool
) -> AnnotationSaved:
    if may_be_deep and _is_too_deep(annotation):
        raise EventError(f"Field 'annotation' is nested more than {_MOST_DEPTH} levels deep; expected few.")
    data = _field(task, "task.data", dict)
    lead_time_s = _optional(annotation, "annotation.lead_time", (int, float))
    if lead_time_s is not None and not abs(lead_time_s) < _MAX_SECONDS:
        raise EventError(f"Field 'annotation.lead_time' is not a finite number below {_MAX_SECONDS:g} s.")
    return AnnotationSaved(
        action=action,
        annotation_id=_id(annotation, "annotation.id"),
        annotation_uid=_name(annotation, "annotation.unique_id"),
        annotation_created_at=_time(annotation, "annotation.created_at"),
        annotation_updated_at=_time(annotation, "annotation.updated_at"),
        task_id=_id(task, "task.id"),
        project_id=_id(task, "task.project"),
        proposal=_name(data, f"task.data.{PROPOSAL}"),
        was_cancelled=_field(annotation, "annotation.was_cancelled", bool),
        result=_field(annotation, "annotation.result", list),
        drawn_by=_drawn_by(action, annotation),
        lead_time_s=None if lead_time_s is None else float(lead_time_s),
    )


def _drawn_by(action: SavedAction, annotation: Mapping[str, Any]) -> int | None:
    """Return who drew an annotation as it is now.

    Label Studio keeps ``completed_by`` when somebody else changes a drawing. One that we carry over to another task is
    created with the administrator's token, which ``updated_by`` then names.
    """
    created_by: int | None = _optional(annotation, "annotation.completed_by", int)
    changed_by: int | None = _optional(annotation, "annotation.updated_by", int)
    return created_by if action == "ANNOTATION_CREATED" or changed_by is None else changed_by


def _with_short_rle(region: object) -> object:
    """Return a region with the digest of its RLE in place of the list, which takes long to write as JSON."""
    value = region.get("value") if isinstance(region, dict) else None
    rle = value.get("rle") if isinstance(value, dict) else None
    if not isinstance(region, dict) or not isinstance(value, dict) or not isinstance(rle, list):
        return region
    try:
        digest = hashlib.sha256(bytes(rle)).hexdigest()
    except (TypeError, ValueError):  # no list of bytes, so no mask
        return region
    return {**region, "value": {**value, "rle": digest}}


def _is_too_deep(value: object) -> bool:
    """Return whether parsed JSON is nested more than `_MOST_DEPTH` levels deep."""
    with suppress(TypeError):  # it refuses deeper values, and some others
        orjson.dumps(value, default=str)
        return False
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [part for item in level for part in _parts(item)]
    return any(isinstance(item, dict | list) for item in level)


def _parts(item: object) -> Iterable[object]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def _without_depths(value: object, levels: int = _KEPT_DEPTH) -> Any:
    """Return parsed JSON with null in place of the lists and objects below some levels."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return None
    parts = map(_without_depths, _parts(value), repeat(levels - 1))
    return dict(zip(value, parts, strict=True)) if isinstance(value, dict) else list(parts)


def _bounded(value: object) -> Any:
    """Return parsed JSON that Python's own JSON writes: itself, unless it is nested too deeply."""
    return _without_depths(value) if _is_too_deep(value) else value


def _checksum(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _if_readable(read: Callable[[Mapping[str, Any], str], T], container: Mapping[str, Any], path: str) -> T | None:
    try:
        return read(container, path)
    except EventError:
        return None


def _id(container: Mapping[str, Any], path: str) -> int:
    found: int = _field(container, path, int)
    if not 0 < found <= _MAX_ID:
        raise EventError(f"Field '{path}' is not an id; expected a positive 64-bit integer.")
    return found


def _name(container: Mapping[str, Any], path: str) -> str | None:
    """Return the name of something, or None."""
    found: str | None = _optional(container, path, str)
    # No database stores every text: PostgreSQL refuses NUL, and half a surrogate pair is no UTF-8.
    if found is not None and not found.isprintable():
        raise EventError(f"Field '{path}' is {shown(found)}; expected printable characters.")
    if found is not None and len(found) > _MAX_NAME:
        raise EventError(f"Field '{path}' has {len(found)} characters; expected at most {_MAX_NAME}.")
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
        found = "null" if value is None else type(value).__name__
        raise EventError(f"Field '{path}' is {found}; expected {expected}.")
    return value


def _optional(container: Mapping[str, Any], path: str, kind: type | tuple[type, ...]) -> Any:
    """Like `_field`, but None if the member is missing or null."""
    key = path.rpartition(".")[2]
    return None if container.get(key) is None else _field(container, path, kind)
