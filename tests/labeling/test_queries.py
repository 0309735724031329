import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from labeling.queries import compose, format_time, of_range


def test_times_are_written_in_utc_with_microseconds_and_z():
    nepal = timezone(timedelta(hours=5, minutes=45))
    assert format_time(datetime(2026, 11, 21, 14, 21, 27, 309088, nepal)) == "2026-11-21T08:36:27.309088Z"
    assert format_time(datetime(2026, 11, 21, tzinfo=UTC)) == "2026-11-21T00:00:00.000000Z"


def test_naive_times_are_refused():
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2026, 11, 21))


def test_a_query_is_in_the_order_of_ids():
    """Other orders change while annotators work, and pages would shift."""
    assert json.loads(compose([of_range(7)], ids=[8, 9])) == {
        "filters": {
            "conjunction": "and",
            "items": [
                {
                    "filter": "filter:tasks:id",
                    "operator": "in",
                    "type": "Number",
                    "value": {"min": 7, "max": 2**63 - 1},
                }
            ],
        },
        "ordering": ["tasks:id"],
        "selectedItems": {"all": False, "included": [8, 9]},
    }
