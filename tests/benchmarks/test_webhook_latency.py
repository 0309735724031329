import pytest

from benchmarks.webhook_latency import compare, label_event
from labeling.events import AnnotationSaved, parse_event


def test_every_event_is_new_to_the_ledger() -> None:
    events = [event for number in (1, 2) for event in parse_event(label_event(number), 2**20)]
    assert all(isinstance(event, AnnotationSaved) for event in events)
    assert len({event.dedupe_key for event in events}) == 2


def test_percentiles_are_compared_with_those_of_the_first_request() -> None:
    seconds = {"short": [0.001 * n for n in range(1, 102)], "long": [0.003 * n for n in range(1, 102)]}
    short, long = compare(seconds)
    assert (short["p50 ms"], short["p99 ms"]) == pytest.approx((51.0, 100.0))
    assert (short["x p50"], short["x p99"]) == (1.0, 1.0)
    assert (long["p50 ms"], long["x p50"], long["x p99"]) == pytest.approx((153.0, 3.0, 3.0))
