import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from labeling.queries import changed_since, format_time


def test_times_are_written_in_utc_with_microseconds_and_z():
    nepal = timezone(timedelta(hours=5, minutes=45))
    assert format_time(datetime(2026, 11, 21, 14, 21, 27, 309088, nepal)) == "2026-11-21T08:36:27.309088Z"
    assert format_time(datetime(2026, 11, 21, tzinfo=UTC)) == "2026-11-21T00:00:00.000000Z"


def test_naive_times_are_refused():
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2026, 11, 21))


def test_without_a_time_all_tasks_are_asked_for():
    assert json.loads(changed_since(None)) == {
        "filters": {"conjunction": "and", "items": []},
        "ordering": ["tasks:updated_at"],
    }
