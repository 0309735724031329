"""The worker of label events, in a process as `glacier-al up` starts it, and what it asks of Label Studio."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psutil
import pytest
from sqlalchemy import func, select

from catalog.context import Catalog
from catalog.records import EventState, Job, JobState, Label, LabelEvent
from catalog.settings import Settings
from services.annotators import annotator, refresh
from services.label_studio import label_studio
from services.places import raster_store
from tests.real_services import running
from tests.workers.desk import ANNOTATION, Desk, box, brush, saved, sit_down, updated

COMMAND = [sys.executable, "-m", "workers.main", "labels"]
DRAWN = [brush(box(2, 3, 20, 25))]
WAIT_S = 60


class Users(ThreadingHTTPServer):
    """What Label Studio answers when it is asked for its users; a real one would take a minute to start."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.users = {7: "ada@example.org"}
        self.asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: Users

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps([{"id": key, "email": email} for key, email in self.server.users.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def users() -> Iterator[Users]:
    with Users() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def settings(settings: Settings, users: Users) -> Settings:
    changes = {"label_studio_url": f"http://127.0.0.1:{users.server_port}", "job_stale_after_s": 1.0}
    return Settings(**{**settings.model_dump(), **changes})


@pytest.fixture
def desk(catalog: Catalog, tmp_path) -> Desk:
    return sit_down(catalog, tmp_path / "a.tif")


def receive(desk: Desk, annotation_id: int, result: list) -> int:
    (event_id,) = desk.receive(saved(desk.first, result, id=annotation_id, completed_by=7))
    desk.catalog.sweep()  # hands the job to Redis, as the API does after its answer
    return event_id


def wait_for(done, log) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def state(desk: Desk, event_id: int) -> EventState:
    return desk.event(event_id).state


def test_events_are_ingested_without_a_fork_and_an_unreadable_one_stops_none(desk, users, tmp_path):
    refresh(desk.catalog, label_studio(desk.catalog))  # as reconciliation does
    asked, log = users.asked, tmp_path / "worker.log"
    unreadable = [{**DRAWN[0], "value": {**DRAWN[0]["value"], "rle": [0, 0, 16, 0, 57]}}]
    events = [receive(desk, ANNOTATION + number, unreadable if number == 1 else DRAWN) for number in range(4)]
    children: set[int] = set()
    with running(COMMAND, desk.catalog.settings.as_environment(), log=log) as process:
        worker = psutil.Process(process.pid)

        def all_ended() -> bool:
            children.update(child.pid for child in worker.children())
            return all(state(desk, event) is not EventState.RECEIVED for event in events)

        wait_for(all_ended, log)
        assert process.poll() is None
        process.terminate()
        assert process.wait(WAIT_S) == 0, log.read_text()
    expected = [EventState.APPLIED, EventState.FAILED, EventState.APPLIED, EventState.APPLIED]
    assert [state(desk, event) for event in events] == expected
    assert "RLE" in (desk.event(events[1]).detail or "")
    assert {label.annotator for label in desk.standing()} == {"ada@example.org"}
    assert (children, users.asked) == (set(), asked)


def test_an_event_whose_worker_was_killed_is_ingested_once_by_the_next(desk, tmp_path):
    event, log = receive(desk, ANNOTATION, DRAWN), tmp_path / "worker.log"
    environment = desk.catalog.settings.as_environment()
    dies = worker_with("import catalog.labels, os; catalog.labels.store = lambda *_: os.kill(os.getpid(), 9)")
    with running(dies, environment, log=log) as process:  # with the mask written, and the transaction not committed
        assert process.wait(WAIT_S) == -signal.SIGKILL, log.read_text()
    assert (job_of(desk).state, state(desk, event), desk.standing()) == (JobState.RUNNING, EventState.RECEIVED, [])
    time.sleep(desk.catalog.settings.job_stale_after_s)
    desk.catalog.sweep()  # notes that the worker died; the clock does this
    with desk.catalog.write() as session:
        job = session.get_one(Job, job_of(desk).id)
        assert (job.state, job.failures, job.error) == (JobState.QUEUED, 1, "its worker died")
        job.run_after = job.created_at  # instead of waiting for some seconds
    desk.catalog.sweep()
    with running(COMMAND, environment, log=log):
        wait_for(lambda: job_of(desk).state is JobState.FINISHED, log)
    assert state(desk, event) is EventState.APPLIED
    assert len(desk.standing()) == 1


@pytest.mark.parametrize(
    ("hang", "code", "error"),
    [
        ("time.sleep(60)", 0, "JobTimeLimit: Task exceeded maximum timeout value (1 seconds)"),
        # A library that does not return to Python: the alarm is never handled, and the watchdog ends the worker.
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(60)", 1, None),
    ],
)
def test_a_job_that_hangs_is_ended(desk, tmp_path, hang, code, error):
    event, log = receive(desk, ANNOTATION, DRAWN), tmp_path / "worker.log"
    redis = desk.catalog.queue.connection
    for key in redis.scan_iter("rq:job:*"):
        redis.hset(key, "timeout", 1)
    hangs = worker_with(
        "import signal, time, catalog.labels, workers.label_worker\n"
        "workers.label_worker.WATCHDOG_GRACE_S = 1\n"
        f"def hang(*_):\n    {hang}\n"
        "catalog.labels.find_proposal = hang"
    )
    environment = {**desk.catalog.settings.as_environment(), "GLACIER_AL_JOB_ATTEMPTS": "1"}
    with running(hangs, environment, log=log) as process:
        assert process.wait(WAIT_S) == code, log.read_text()
    if error is None:
        assert job_of(desk).state is JobState.RUNNING  # until the clock notes that its worker died
        assert "Timeout" in log.read_text()  # with the stack that hung
    else:
        assert (state(desk, event), job_of(desk).error) == (EventState.FAILED, error)


def worker_with(change: str) -> list[str]:
    """Return the command of a worker whose code is changed, and which stops when its queue is empty."""
    main = "import sys, workers.main; sys.argv = ['main', 'labels', '--burst']; workers.main.main()"
    return [sys.executable, "-c", f"{change}\n{main}"]


def job_of(desk: Desk) -> Job:
    with desk.catalog.read() as session:
        return session.query(Job).filter(Job.key.like("ingest_label:%")).one()


def test_label_studio_is_asked_for_a_person_once(catalog: Catalog, users: Users):
    assert annotator(catalog, 7) == "ada@example.org"
    asked = users.asked
    assert (annotator(catalog, 7), annotator(catalog, None)) == ("ada@example.org", "unknown")
    assert users.asked == asked
    assert annotator(catalog, 8) == annotator(catalog, 8) == "user 8"  # the account is gone, which is known now
    users.users = {7: "ada@example.net", 8: "new@example.org"}
    refresh(catalog, label_studio(catalog))
    assert (annotator(catalog, 7), annotator(catalog, 8)) == ("ada@example.net", "new@example.org")


def test_two_workers_at_once_leave_the_last_state_of_each_annotation(desk, tmp_path):
    drawn = [brush(box(2, 3, 4 + rows, 25)) for rows in range(8)]
    for change, region in enumerate(drawn):
        for number, proposal in enumerate((desk.first, desk.second)):
            payload = updated(proposal, [region], 1 + change, id=ANNOTATION + number)
            desk.receive(payload if change else {**payload, "action": "ANNOTATION_CREATED"})
    desk.catalog.sweep()
    logs, environment = [tmp_path / "one.log", tmp_path / "two.log"], desk.catalog.settings.as_environment()
    with running(COMMAND, environment, log=logs[0]), running(COMMAND, environment, log=logs[1]):
        wait_for(lambda: not desk.received(), logs[0])
    with desk.catalog.read() as session:
        last = select(LabelEvent.annotation_id, func.max(LabelEvent.id)).group_by(LabelEvent.annotation_id)
        assert {label.annotation_id: label.event_id for label in desk.standing()} == dict(session.execute(last).all())
        masks = {label.mask_key for label in session.scalars(select(Label))}
    stored = {key for key in raster_store(desk.catalog).all_keys() if key.startswith("labels/")}
    assert stored == masks  # none of an event that became no label
    assert all(" is applied" in log.read_text() or " has no effect" in log.read_text() for log in logs)
