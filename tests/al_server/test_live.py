"""Listeners hear what changes, take no thread, and are sent away in the end."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from flask import Flask
from sqlalchemy.orm import Session

from al_server import live
from al_server.http_server import THREADS
from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind
from catalog.setting_changes import SettingChange
from services.live_state import Topic, live_state
from tests.catalog_fixtures import add_scene, as_role
from tests.served_app import serving


@pytest.fixture
def address(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.05)
    with serving(app) as address:
        yield address


@contextmanager
def listening(address: str, catalog: Catalog) -> Iterator[Iterator[str]]:
    with httpx.stream("GET", f"{address}/api/v1/live", headers=as_role(catalog, "reader"), timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "retry: 2000"
        yield lines


def changes(lines: Iterator[str]) -> list[str]:
    """The topics of the next event."""
    while next(lines) != "event: changed":
        pass
    topics: list[str] = json.loads(next(lines).removeprefix("data: "))
    return topics


def test_listeners_hear_what_changed(address: str, catalog: Catalog) -> None:
    with ExitStack() as stack:
        # More than the server has threads: they need none.
        heard = [stack.enter_context(listening(address, catalog)) for _ in range(2 * THREADS)]
        assert httpx.get(f"{address}/healthz", timeout=10).status_code == 200
        first = heard[0]
        while "jobs" not in changes(first):  # the watch may begin to look only after the first change
            pass
        for lines in heard[1:]:
            assert "jobs" in changes(lines)


@pytest.fixture(autouse=True)
def something_goes_on(request: pytest.FixtureRequest, catalog: Catalog) -> Iterator[None]:
    """Enqueue a job every tenth of a second."""
    stop = threading.Event()

    def enqueue() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            with catalog.database.write() as session:
                jobs.enqueue(session, JobKind.PREDICT_SCENE, str(number), scene_id=number, delivery={})

    thread = threading.Thread(target=enqueue)
    if "address" in request.fixturenames:
        thread.start()
    yield
    stop.set()
    if thread.is_alive():
        thread.join()


def test_a_listener_is_sent_away_and_may_come_back(
    address: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LONGEST_S", 0.3)
    for _ in range(2):
        with pytest.raises(StopIteration), listening(address, catalog) as lines:
            while True:
                changes(lines)


@pytest.mark.parametrize(
    ("happens", "topic"),
    [
        (add_scene, Topic.SCENES),
        (lambda session: session.add(SettingChange(name="auto_rounds", value=True, changed_by="olga")), Topic.ROUNDS),
    ],
)
def test_a_topic_changes_with_what_it_shows(
    catalog: Catalog, happens: Callable[[Session], object], topic: Topic
) -> None:
    with catalog.read() as session:
        before = live_state(session)
    with catalog.write() as session:
        happens(session)
    with catalog.read() as session:
        after = live_state(session)
    assert {item for item in Topic if before[item] != after[item]} == {topic}
