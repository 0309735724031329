"""The Data Manager's query language: which tasks to list, as JSON in the URL."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from labeling.tasks import PROPOSAL

Filter = dict[str, Any]
LAST_ID = 2**63 - 1
"""The highest id that a task can have."""


def of_proposals(proposals: Sequence[str]) -> Filter:
    """Select the tasks of these proposals."""
    return _filter(f"data.{PROPOSAL}", "in_list", "List", list(proposals))


def changed_since(since: datetime) -> Filter:
    """Select the tasks that changed after an aware time."""
    return _filter("updated_at", "greater", "Datetime", format_time(since))


def of_range(first: int, last: int = LAST_ID) -> Filter:
    """Select the tasks with ids from `first` to `last`, both included."""
    return _filter("id", "in", "Number", {"min": first, "max": last})


def uncounted() -> list[Filter]:
    """Select the tasks that have annotations although their counters say that they have none."""
    counters = [_filter(name, "equal", "Number", 0) for name in ("total_annotations", "cancelled_annotations")]
    return [*counters, _filter("annotations_ids", "empty", "Number", False)]


def with_annotation_ids() -> Filter:
    """Select every task, and make Label Studio tell the ids of its annotations.

    It leaves ``annotations_ids`` empty in a list of tasks unless a filter names that field. No annotation has the id 0.
    """
    return _filter("annotations_ids", "not_contains", "String", "0")


def untouched() -> list[Filter]:
    """Select the tasks that have no annotation, no skip and no draft, whatever their counters say."""
    return [_filter("annotations_ids", "empty", "Number", True), _filter("draft_exists", "equal", "Boolean", False)]


def compose(filters: Sequence[Filter], ids: Sequence[int] | None = None) -> str:
    """Compose a query.

    Args:
        filters: All of them must hold.
        ids: Only these tasks; None for all.

    Returns:
        The query, in the order of the ids of tasks: other orders change while annotators work.
    """
    query: dict[str, Any] = {
        "filters": all_of(filters),
        "ordering": ["tasks:id"],
    }
    if ids is not None:
        query["selectedItems"] = only(ids)
    return json.dumps(query)


def all_of(filters: Sequence[Filter]) -> dict[str, Any]:
    """Return the filters of a query or an action, all of which must hold."""
    return {"conjunction": "and", "items": list(filters)}


def only(ids: Sequence[int]) -> dict[str, Any]:
    """Return the tasks that a query or an action is about. Label Studio takes an empty list for all tasks."""
    return {"all": False, "included": list(ids)}


def _filter(field: str, operator: str, kind: str, value: object) -> Filter:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}


def format_time(time: datetime) -> str:
    """Write a time in the only form that the filters read; any other is answered with status 500.

    Args:
        time: An aware time.

    Returns:
        UTC as ``%Y-%m-%dT%H:%M:%S.%fZ``.

    Raises:
        ValueError: If the time is naive.
    """
    if time.tzinfo is None:
        raise ValueError(f"The time {time} has no time zone; expected an aware one.")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
