"""The watch over the machine's clock, which these tests set."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from catalog import jobs
from catalog.context import Catalog
from catalog.database import Database
from catalog.records import JobKind, JobState, now
from catalog.set_back_clock import LONGEST_WAITS
from catalog.webhook_records import Delivery
from services.outgoing_events import BACK_OFF
from workers.clock import tick, watched_tick
from workers.clock_watch import ClockWatch


@dataclass
class Times:
    """What the clock and the counter of a machine show."""

    clock: float = 1_000_000.0
    counter: float = 50.0

    def pass_by(self, seconds: float) -> None:
        self.clock += seconds
        self.counter += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def watch(catalog: Catalog, times: Times) -> ClockWatch:
    return ClockWatch(catalog, lambda: times.clock, lambda: times.counter)


def add_waiting(catalog: Catalog, key: str) -> str:
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, key)
        job.run_after = now() + timedelta(days=365)
        return job.id


def due(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        return [job.id for job in jobs.due(session)]


def test_the_first_look_brings_back_what_was_written_before_the_start(catalog, watch):
    job_id = add_waiting(catalog, "1")
    assert watch.look()
    assert due(catalog) == [job_id]


def test_a_clock_that_was_set_back_is_noticed_once(catalog, times, watch, caplog):
    watch.look()
    first = add_waiting(catalog, "1")
    times.pass_by(30)
    assert watch.look()
    assert due(catalog) == []  # the clock was not set: this one is meant to wait
    times.pass_by(30)
    times.clock -= 3600
    assert watch.look()
    assert due(catalog) == [first]
    assert "the clock was set back: times that lay ahead are brought back to now, in rows: 1 of jobs" in caplog.text
    add_waiting(catalog, "2")
    times.pass_by(30)
    watch.look()
    assert due(catalog) == [first]


def test_a_clock_that_is_corrected_by_little_was_not_set(catalog, times, watch):
    watch.look()
    add_waiting(catalog, "1")
    for correction in (-4.0, 4.0):
        times.pass_by(30)
        times.clock += correction
        assert watch.look()
    assert due(catalog) == []


def test_heartbeats_tell_nothing_until_each_worker_has_sent_another_one(catalog, times, watch):
    watch.look()
    job_id = running(catalog)  # as it looks after the clock was set ahead by an hour
    times.pass_by(2)
    times.clock += 3600
    tick(catalog, reconcile=False, heartbeats_tell=watch.look)
    assert state(catalog, job_id) is JobState.RUNNING
    times.pass_by(catalog.settings.job_stale_after_s - 1)
    assert not watch.look()
    times.pass_by(1)
    tick(catalog, reconcile=False, heartbeats_tell=watch.look)
    assert state(catalog, job_id) is JobState.QUEUED


def running(catalog: Catalog) -> str:
    """Have a job run whose last heartbeat was an hour ago; return its id."""
    with catalog.database.write() as session:
        job_id = jobs.enqueue(session, JobKind.TILE_SCENE, "1").id
    with catalog.database.write() as session:
        job = jobs.claim(session, job_id)
        job.heartbeat_at = now() - timedelta(hours=1)
    return job_id


def test_heartbeats_tell_nothing_until_workers_could_send_one_to_a_database_that_was_away(
    catalog, times, watch, monkeypatch, tmp_path
):
    job_id = running(catalog)
    (tmp_path / "full").mkdir()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(catalog, "database", Database(f"sqlite:///{tmp_path / 'full'}"))  # a folder: no database
        for _ in range(24):  # two minutes
            assert not watched_tick(catalog, watch, reconcile=False)
            times.pass_by(5)
    for _ in range(11):
        watched_tick(catalog, watch, reconcile=False)
        assert state(catalog, job_id) is JobState.RUNNING
        times.pass_by(5)
    watched_tick(catalog, watch, reconcile=False)  # a minute after the last that failed
    assert state(catalog, job_id) is JobState.QUEUED


@pytest.mark.parametrize(("waited_s", "after"), [(44, JobState.QUEUED), (46, JobState.RUNNING)])
def test_a_tick_that_waited_for_the_database_judges_nobody(catalog, times, watch, monkeypatch, waited_s, after):
    """A heartbeat is sent each 15 s. One that was 15 s old, and waited for 45 s, too, is as old as that of the dead."""
    job_id = running(catalog)
    refresh = catalog.refresh_settings

    def refresh_slowly() -> None:
        times.pass_by(waited_s)
        refresh()

    monkeypatch.setattr(catalog, "refresh_settings", refresh_slowly)
    watched_tick(catalog, watch, reconcile=False)
    assert state(catalog, job_id) is after


def state(catalog: Catalog, job_id: str) -> JobState:
    with catalog.read() as session:
        return jobs.get(session, job_id).state


def test_what_was_not_brought_back_is_at_the_next_look(catalog, times, watch, monkeypatch):
    watch.look()
    job_id = add_waiting(catalog, "1")
    times.clock -= 3600
    with monkeypatch.context() as patch:
        patch.setattr(catalog.database, "write", None)  # it does not answer
        with pytest.raises(TypeError):
            watch.look()
    watch.look()
    assert due(catalog) == [job_id]


def test_no_event_waits_longer_than_is_known():
    assert max(BACK_OFF) < LONGEST_WAITS[Delivery.next_attempt_at]
