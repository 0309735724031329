"""The Data Manager's query language: which tasks to list, as JSON in the URL."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from labeling.tasks import PROPOSAL


def of_proposals(proposals: Sequence[str]) -> str:
    """Select the tasks of these proposals."""
    item = {
        "filter": f"filter:tasks:data.{PROPOSAL}",
        "operator": "in_list",
        "type": "List",
        "value": list(proposals),
    }
    return json.dumps({"filters": {"conjunction": "and", "items": [item]}})


def changed_since(since: datetime | None) -> str:
    """Select the tasks changed after `since` (aware; None: all), oldest change first."""
    items = []
    if since is not None:
        item = {
            "filter": "filter:tasks:updated_at",
            "operator": "greater",
            "type": "Datetime",
            "value": format_time(since),
        }
        items.append(item)
    return json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:updated_at"]})


def of_ids(task_ids: Sequence[int]) -> str:
    """Select tasks by Label Studio's own ids."""
    return json.dumps({"selectedItems": {"all": False, "included": list(task_ids)}})


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
