"""Listeners hear what changes, take no thread, and are sent away in the end."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server import live
from al_server.http_server import THREADS
from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind, Round, Scoring, TrainingRun, now
from catalog.setting_changes import SettingChange
from catalog.settings import Settings
from services import changing_settings
from services.live_state import Topic, changed_topics, live_state, mark
from tests.catalog_fixtures import add_scene, as_role
from tests.dashboard_world import populate
from tests.served_app import serving


@pytest.fixture
def address(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.05)
    with serving(app) as address:
        yield address


@contextmanager
def listening(
    address: str, catalog: Catalog, since: str | None = None, last: str | None = None
) -> Iterator[Iterator[str]]:
    headers = as_role(catalog, "reader") | ({"Last-Event-ID": last} if last else {})
    query = {"since": since} if since else {}
    with httpx.stream("GET", f"{address}/api/v1/live", params=query, headers=headers, timeout=10) as response:
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


@pytest.mark.usefixtures("something_goes_on")
def test_listeners_hear_what_changed(address: str, catalog: Catalog) -> None:
    with ExitStack() as stack:
        # More than the server has threads: they need none.
        heard = [stack.enter_context(listening(address, catalog)) for _ in range(2 * THREADS)]
        assert httpx.get(f"{address}/healthz", timeout=10).status_code == 200
        for lines in heard:
            assert changes(lines) == list(Topic)  # they said nothing of what they know
            assert changes(lines) == [Topic.JOBS]


def test_what_changed_before_the_connection_is_told_first(address: str, catalog: Catalog) -> None:
    """As on a page: it is made, something happens, and only then its script listens."""
    with catalog.read() as session:
        shown = mark(live_state(session))
    with catalog.write() as session:
        add_scene(session)
    with listening(address, catalog, since=shown) as lines:
        assert changes(lines) == [Topic.SCENES]


def test_each_part_of_the_dashboard_hears_of_what_it_shows(catalog: Catalog) -> None:
    with catalog.write() as session:
        populate(session)

    def changed(change: Callable[[Session], None]) -> set[Topic]:
        with catalog.read() as session:
            known = mark(live_state(session))
        with catalog.write() as session:
            change(session)
        with catalog.read() as session:
            return set(changed_topics(live_state(session), known))

    def fail(session: Session) -> None:
        session.get_one(Round, 3).error = "refused"

    def learn(session: Session) -> None:
        session.scalars(select(TrainingRun)).first().finished_at = now()

    def score(session: Session) -> None:
        session.scalars(select(Scoring)).first().completed_at = now()

    assert changed(fail) == {Topic.ROUNDS}
    assert changed(learn) == {Topic.LABELS}
    assert changed(score) == {Topic.MODELS, Topic.JOBS}


def test_who_hears_of_a_changed_setting_is_answered_by_it(address: str, catalog: Catalog, settings: Settings) -> None:
    """Another process changes it, and this one is asked for nothing meanwhile."""
    other = Catalog(settings)
    with catalog.read() as session:
        now = mark(live_state(session))
    with listening(address, catalog, since=now) as lines:
        changing_settings.change(other, {"round_size": 17}, "olga")
        assert changes(lines) == [Topic.ROUNDS]
        assert catalog.settings.round_size == 17
    other.close()


def test_who_comes_back_hears_what_was_missed(address: str, catalog: Catalog) -> None:
    with listening(address, catalog) as lines:
        known = next(line.removeprefix("id: ") for line in lines if line.startswith("id: "))
    with catalog.write() as session:
        add_scene(session)
    with listening(address, catalog, since="of the page, long ago", last=known) as lines:
        assert changes(lines) == [Topic.SCENES]


def test_who_knows_all_hears_only_of_what_comes(address: str, catalog: Catalog) -> None:
    with catalog.read() as session:
        known = mark(live_state(session))
    with listening(address, catalog, since=known) as lines:
        later = threading.Timer(0.3, enqueue_job, (catalog, 1))
        later.start()
        assert changes(lines) == [Topic.JOBS]
        later.join()


def test_an_error_of_one_look_leaves_nobody_untold(
    address: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory was lacking for a moment."""
    found = iter([MemoryError(), MemoryError()])

    def look(session: Session) -> dict[Topic, str]:
        if error := next(found, None):
            raise error
        return live_state(session)

    monkeypatch.setattr(live, "live_state", look)
    with listening(address, catalog) as lines:
        assert changes(lines) == list(Topic)


def test_a_thread_that_could_not_be_started_is_started_for_the_next_who_listens(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = live.Live(catalog)
    heard: list[bytes | None] = []

    def take(message: bytes | None) -> bool:
        heard.append(message)
        return False  # and goes away

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as lacking:
        lacking.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            telling.add(take, None)
    telling.add(take, None)
    while not heard:
        time.sleep(0.01)
    assert heard[0] is not None


@pytest.mark.parametrize("known", ["", "nonsense", "a.b.c.d.e.f.g", "...", "é"])
def test_an_unknown_mark_is_that_of_one_who_knows_nothing(catalog: Catalog, known: str) -> None:
    with catalog.read() as session:
        assert changed_topics(live_state(session), known) == list(Topic)


def enqueue_job(catalog: Catalog, number: int) -> None:
    with catalog.database.write() as session:
        jobs.enqueue(session, JobKind.PREDICT_SCENE, str(number), scene_id=number, delivery={})


@pytest.fixture
def something_goes_on(catalog: Catalog) -> Iterator[None]:
    """Enqueue a job every tenth of a second."""
    stop = threading.Event()

    def enqueue() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            enqueue_job(catalog, number)

    thread = threading.Thread(target=enqueue)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("something_goes_on")
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
