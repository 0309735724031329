"""Webhooks as a real Label Studio delivers them, to a real receiver."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from labeling.client import LabelStudio
from labeling.events import AnnotationDeleted, AnnotationSaved, LabelEvent, TaskDeleted, parse_event
from labeling.regions import encode_brush
from tests.labeling.test_client import COLOURS, HEIGHT, WIDTH, a_mask, a_task, event_of, publish
from tests.real_services import HOST, LabelStudioServer

pytestmark = pytest.mark.slow

SECRET = "open sesame"
EXPERT = ("expert@glacier.local", "ice cold password")


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent, in order."""

    def __init__(self) -> None:
        self.deliveries: queue.Queue[tuple[str | None, bytes]] = queue.Queue()
        super().__init__((HOST, 0), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/hook"

    def next_event(self) -> LabelEvent:
        secret, body = self.deliveries.get(timeout=10)
        assert secret == SECRET
        (event,) = parse_event(body, 2**20)
        return event


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.deliveries.put((self.headers["X-Secret"], body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def admin(label_studio: LabelStudioServer) -> LabelStudio:
    return LabelStudio(label_studio.url, label_studio.token)


@pytest.fixture(scope="module")
def project_id(admin: LabelStudio, receiver: Receiver) -> int:
    project_id = admin.create_project("Webhook delivery", COLOURS, "made by a test", "draw")
    admin.ensure_webhook(project_id, receiver.url, "X-Secret", SECRET)
    return project_id


@pytest.fixture(scope="module")
def expert(admin: LabelStudio, label_studio: LabelStudioServer) -> LabelStudio:
    """The client of an invited annotator."""
    admin.invite_user(*EXPERT)
    return LabelStudio(label_studio.url, admin.user_token(*EXPERT))


def test_an_expert_submits_an_administrator_changes_and_deletes(admin, expert, project_id, receiver, label_studio):
    task_id = publish(admin, project_id, [a_task("delivered")])["delivered"]
    result = [encode_brush(a_mask(), "clean ice", "b1")]

    annotation_id = expert.annotate(task_id, result, lead_time_s=42.0)
    created = receiver.next_event()
    assert isinstance(created, AnnotationSaved)
    assert (created.action, created.annotation_id, created.proposal) == (
        "ANNOTATION_CREATED",
        annotation_id,
        "delivered",
    )
    assert (created.result, created.lead_time_s, created.was_cancelled) == (result, 42.0, False)
    assert admin.user_emails()[created.drawn_by] == EXPERT[0]

    admin._sdk.annotations.update(annotation_id, result=[])
    updated = receiver.next_event()
    assert isinstance(updated, AnnotationSaved)
    assert (updated.action, updated.result) == ("ANNOTATION_UPDATED", [])
    assert admin.user_emails()[updated.drawn_by] == label_studio.email
    assert updated.dedupe_key != created.dedupe_key

    admin._sdk.annotations.delete(annotation_id)
    assert receiver.next_event() == AnnotationDeleted(annotation_id, project_id)
    assert receiver.deliveries.empty()


def test_reconciliation_and_webhook_agree_on_the_key(admin, expert, project_id, receiver):
    task_id = publish(admin, project_id, [a_task("agreed")])["agreed"]
    expert.annotate(task_id, [], lead_time_s=1.0)
    by_webhook = receiver.next_event()
    (task,) = [task for task in admin.changed_tasks(project_id, None) if task["id"] == task_id]
    (annotation,) = task["annotations"]
    by_api = event_of(annotation, task)  # which does not tell the unique id
    assert by_webhook.annotation_uid is not None
    assert (by_api, by_api.dedupe_key) == (replace(by_webhook, annotation_uid=None), by_webhook.dedupe_key)


def test_a_skip_and_an_empty_submission_differ(admin, expert, project_id, receiver):
    tasks = publish(admin, project_id, [a_task("skipped"), a_task("empty")])
    region = encode_brush(np.ones((HEIGHT, WIDTH), bool), "unknown", "b1")
    expert.annotate(tasks["skipped"], [region], lead_time_s=2.0, skip=True)
    expert.annotate(tasks["empty"], [], lead_time_s=3.0)
    skipped, empty = receiver.next_event(), receiver.next_event()
    assert (skipped.proposal, skipped.was_cancelled, len(skipped.result)) == ("skipped", True, 1)
    assert (empty.proposal, empty.was_cancelled, empty.result) == ("empty", False, [])


def test_a_deleted_task_says_only_its_id(admin, project_id, receiver):
    task_id = publish(admin, project_id, [a_task("deleted")])["deleted"]
    admin._sdk.tasks.delete(str(task_id))
    assert receiver.next_event() == TaskDeleted(task_id, project_id)


def test_an_expert_is_invited_once(admin, expert):
    user_id = admin.invite_user(*EXPERT)
    assert admin.invite_user(EXPERT[0].upper(), EXPERT[1]) == user_id
    assert list(admin.user_emails().values()).count(EXPERT[0]) == 1
    expert.check()
