"""Webhooks that arrive together are stored in one transaction, and a bad one among them harms no other."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import zstandard
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from catalog.context import Catalog
from catalog.records import Job, LabelEvent
from labeling.events import AnnotationDeleted, AnnotationSaved
from services import label_events
from services.label_events import Delivery
from services.label_inbox import LabelInbox
from tests.catalog.test_event_order import saved
from tests.catalog_fixtures import PROJECT_ID, pushed

TOO_LARGE = 2**70
"""An id that no database can store; `labeling.events` refuses it, so that no webhook can bring it."""


@contextmanager
def all_at_once(inbox: LabelInbox, *events: AnnotationSaved) -> Iterator[list[Future[list[int]]]]:
    """Let a thread for each event leave it while another one writes; yield the calls when they have all ended."""
    with ThreadPoolExecutor(len(events)) as pool, inbox._writing:
        calls = [pool.submit(inbox.record, [each], b"{}") for each in events]
        while len(inbox._left) < len(events):
            threading.Event().wait(0.001)
    yield calls


@pytest.fixture
def commits(catalog: Catalog) -> list[int]:
    """A list that gets an entry for each commit."""
    found: list[int] = []
    event.listen(catalog.database.engine, "commit", lambda _: found.append(1))
    return found


def stored(catalog: Catalog) -> list[int | None]:
    with catalog.read() as session:
        return [row.annotation_id for row in session.query(LabelEvent).order_by(LabelEvent.id)]


def test_what_comes_during_a_transaction_is_stored_in_one(catalog: Catalog, commits: list[int]) -> None:
    events = [saved(annotation_id=number) for number in range(1, 5)]
    with all_at_once(LabelInbox(catalog), *events) as calls:
        numbers = [number for call in calls for number in call.result()]
    assert commits == [1]
    assert sorted(numbers) == [1, 2, 3, 4]  # ids of the rows
    assert sorted(filter(None, stored(catalog))) == [1, 2, 3, 4]
    with catalog.read() as session:
        jobs = session.query(Job).all()
    assert sorted(job.subject["event_id"] for job in jobs) == [1, 2, 3, 4]
    assert sorted(pushed(catalog)) == sorted(f"{job.id}-0" for job in jobs)


def test_one_that_the_database_refuses_harms_no_other(catalog: Catalog) -> None:
    bad = saved(annotation_id=TOO_LARGE)
    with all_at_once(LabelInbox(catalog), saved(annotation_id=1), bad, saved(annotation_id=2)) as (one, refused, two):
        assert (len(one.result()), len(two.result())) == (1, 1)
        with pytest.raises((DBAPIError, OverflowError)):
            refused.result()
    assert sorted(filter(None, stored(catalog))) == [1, 2]


def test_of_the_same_event_twice_one_is_new(catalog: Catalog) -> None:
    with all_at_once(LabelInbox(catalog), saved(), saved()) as calls:
        assert sorted(len(call.result()) for call in calls) == [0, 1]
    assert stored(catalog) == [1]


def test_a_deletion_refers_to_what_came_with_it(catalog: Catalog) -> None:
    """Label Studio gives the id away again: the second annotation with it is another one, and so is its deletion."""
    first, second = saved(unique_id="first"), saved(minutes=5, created=5, unique_id="second")
    deleted = AnnotationDeleted(1, PROJECT_ID)
    bodies = [Delivery([each], b"{}") for each in (first, deleted, deleted, second, deleted)]
    with catalog.write() as session:
        new = label_events.record_all(session, bodies, "webhook")
    assert [len(rows) for rows in new] == [1, 1, 0, 1, 1]
    assert [row.annotation_uid for rows in new for row in rows] == ["first", "first", "second", "second"]


def test_ids_follow_the_order_of_arrival(catalog: Catalog) -> None:
    """The newest id is the current state of an annotation."""
    states = [replace(saved(minutes=minutes), result=[f"state {minutes}"]) for minutes in range(40)]
    with catalog.write() as session:
        new = label_events.record_all(session, [Delivery([each], b"{}") for each in states], "webhook")
    assert [row.content_sha256 for (row,) in new] == [each.content_sha256 for each in states]
    assert [row.id for (row,) in new] == sorted(row.id for (row,) in new)


def test_a_body_is_compressed_before_its_transaction(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    compress, in_transaction = zstandard.compress, []
    inbox = LabelInbox(catalog)

    def watched(data: bytes, level: int) -> bytes:
        in_transaction.append(inbox._writing.locked())
        return compress(data, level)

    monkeypatch.setattr(zstandard, "compress", watched)
    inbox.record([saved(annotation_id=1)], b"{}")
    assert in_transaction == [False]
