"""Events sent to a real HTTP server, which checks their signatures with the library that receivers use."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from rq.timeouts import JobTimeoutException
from sqlalchemy import select, text
from standardwebhooks import Webhook, WebhookVerificationError

from catalog import jobs
from catalog.context import DELIVERY_LIMIT_S, Catalog
from catalog.decision_records import Promotion
from catalog.errors import ConflictError
from catalog.records import Base, Job, JobKind, JobState, now
from catalog.registry import ModelVersion
from catalog.webhook_records import Delivery, DeliveryState
from services import outgoing_events
from services.outgoing_events import BACK_OFF, announce_promotion, check_address
from services.situation import read_situation
from tests.al_server.test_dashboard import load
from tests.al_server.test_error_shape import assert_problem
from tests.catalog.test_database import downgrade
from tests.catalog_fixtures import as_role
from workers import deliver_event as deliver_job
from workers.clock import tick
from workers.deliver_event import deliver_event
from workers.jobs import JobContext
from workers.time_limit import DeathPenalty

SUBSCRIPTIONS = "/api/v1/subscriptions"


class Receiver(HTTPServer):
    """Keeps what it is sent; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.received = 204, list[tuple[dict[str, str], bytes]]()
        self.dribbles = False
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        while self.server.dribbles:  # a status line that does not end, each byte long before the limit between bytes
            try:
                self.wfile.write(b"H")
            except OSError:  # the sender has given up
                return
            time.sleep(0.05)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", self.server.url + "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver(catalog: Catalog) -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        catalog.settings = catalog.settings.model_copy(update={"event_hosts": [server.host]})
        yield server
        server.shutdown()
        thread.join()


def subscribe(client: FlaskClient, catalog: Catalog, url: str) -> Any:
    return client.post(SUBSCRIPTIONS, json={"url": url}, headers=as_role(catalog, "operator"))


def promote(catalog: Catalog, number: int) -> None:
    """Record that a version was promoted, as `services.promotion` does when MLflow has moved the alias."""
    with catalog.database.write() as session:
        decision = Promotion(model_version=number, verdict="promoted", reason="better", actor="ann")
        session.add(decision)
        session.flush()
        announce_promotion(session, decision, ModelVersion(number, "run", now(), {"sha256.model.onnx": "ab" * 32}))


def work(catalog: Catalog) -> None:
    """Do the deliveries that are queued."""
    with catalog.read() as session:
        waiting = session.scalars(
            select(Job).where(Job.kind == JobKind.DELIVER_EVENT, Job.state == JobState.QUEUED)
        ).all()
    for job in waiting:
        with catalog.database.write() as session:
            claimed = jobs.claim(session, job.id)
        deliver_event(JobContext(catalog, claimed), **job.subject)
        with catalog.database.write() as session:
            jobs.finish(session, job.id, claimed.attempt)


def only_delivery(catalog: Catalog) -> Delivery:
    with catalog.read() as session:
        return session.scalars(select(Delivery)).one()


def test_a_subscriber_is_told_of_a_promotion_and_can_check_who_says_so(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    added = subscribe(client, catalog, receiver.url)
    assert (added.status_code, added.json["created_by"]) == (201, "operator")
    promote(catalog, 3)
    work(catalog)
    ((headers, body),) = receiver.received
    told = Webhook(added.json["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["version"], told["data"]["actor"]) == ("model.promoted", 3, "ann")
    assert told["data"]["sha256"] == {"model.onnx": "ab" * 32}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(body, headers)
    listed = client.get(f"{SUBSCRIPTIONS}/deliveries", headers=as_role(catalog, "operator")).json
    assert [(item["state"], item["attempts"], item["last_status"]) for item in listed] == [("delivered", 1, 204)]
    assert "secret" not in client.get(SUBSCRIPTIONS, headers=as_role(catalog, "operator")).text


@pytest.mark.parametrize("status", [500, 302])
def test_what_is_not_accepted_is_tried_again_for_a_day_and_then_given_up_visibly(
    client: FlaskClient, catalog: Catalog, receiver: Receiver, status: int
) -> None:
    subscribe(client, catalog, receiver.url)
    receiver.status = status
    promote(catalog, 3)
    waited = timedelta()
    for attempt in range(1, len(BACK_OFF) + 1):
        work(catalog)
        delivery = only_delivery(catalog)
        assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, attempt)
        waited += delivery.next_attempt_at - now()
        with catalog.database.write() as session:
            session.get_one(Delivery, delivery.id).next_attempt_at = now() + timedelta(minutes=1)
        tick(catalog, reconcile=False)
        with catalog.read() as session:
            assert not jobs.is_open(session, JobKind.DELIVER_EVENT)  # not due yet
        with catalog.database.write() as session:
            session.get_one(Delivery, delivery.id).next_attempt_at = now()
        tick(catalog, reconcile=False)
    assert timedelta(days=1) < waited < timedelta(days=2)
    work(catalog)
    assert len(receiver.received) == len(BACK_OFF) + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert only_delivery(catalog).state is DeliveryState.DEAD
    assert given_up(client, catalog) == 1
    dead = client.get(f"{SUBSCRIPTIONS}/deliveries?state=dead", headers=as_role(catalog, "operator")).json
    assert [item["last_error"] for item in dead] == [f"it answered {status}, expected 200 to 299"]
    assert "Events that were given up model.promoted" in " ".join(
        load(client, catalog).text.replace("event version subscription attempts last answer happened", "").split()
    )


def test_events_are_sent_again_since_a_time_with_their_ids(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    promote(catalog, 1)  # before anybody subscribed
    added = subscribe(client, catalog, receiver.url)
    promote(catalog, 2)
    work(catalog)
    body = {"since": (now() - timedelta(hours=1)).isoformat()}
    again = client.post(f"{SUBSCRIPTIONS}/{added.json['id']}/replay", json=body, headers=as_role(catalog, "operator"))
    assert (again.status_code, again.json) == (202, {"events": 2})
    work(catalog)
    versions = [json.loads(body)["data"]["version"] for _, body in receiver.received]
    assert versions == [2, 1, 2]
    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert ids[0] == ids[2] != ids[1]


def given_up(client: FlaskClient, catalog: Catalog) -> int:
    """Return how many events for others were given up, as the dashboard and the metrics both say."""
    with catalog.read() as session:
        count = read_situation(session, catalog.settings).dead_deliveries
    text = client.get("/metrics", headers=as_role(catalog, "reader")).text
    assert f"glacier_al_dead_deliveries {count:.1f}" in text
    return count


def test_a_removed_subscriber_is_told_nothing_more(client: FlaskClient, catalog: Catalog, receiver: Receiver) -> None:
    added = subscribe(client, catalog, receiver.url)
    promote(catalog, 1)
    address = f"{SUBSCRIPTIONS}/{added.json['id']}"
    assert client.delete(address, headers=as_role(catalog, "operator")).status_code == 200
    promote(catalog, 2)
    work(catalog)
    assert receiver.received == []
    assert only_delivery(catalog).last_error == "the subscription was removed"
    assert given_up(client, catalog) == 0  # nobody misses it
    assert "Events that were given up" not in load(client, catalog).text
    dead = client.get(f"{SUBSCRIPTIONS}/deliveries?state=dead", headers=as_role(catalog, "operator")).json
    assert [item["last_error"] for item in dead] == ["the subscription was removed"]
    assert_problem(client.delete(address, headers=as_role(catalog, "operator")), 404, "there is no subscription")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5000/",
        "http://hooks.example.org.evil.example/",
        "http://me:pass@hooks.example.org/",
        "http://hooks.example.org:6379/",
        "file:///etc/passwd",
        "hooks.example.org/x",
        "http://hooks.example.org/#x",
        "http://[",
        "http://a℀b/",
        "http://hooks.example.org:port/",
        "http://hooks.example.org:65536/",
        "http://hooks\t.example.org/x",  # urlsplit takes this for the host that is allowed
        "http://hooks.example.org/x\u200b",
    ],
)
def test_events_go_only_to_hosts_that_the_setting_names(url: str) -> None:
    check_address("https://hooks.example.org/x?key=1", ["hooks.example.org"])
    with pytest.raises(ConflictError):
        check_address(url, ["hooks.example.org"])


def test_a_host_that_is_not_allowed_any_more_is_not_told(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    subscribe(client, catalog, receiver.url)
    catalog.settings = catalog.settings.model_copy(update={"event_hosts": []})
    promote(catalog, 1)
    work(catalog)
    assert receiver.received == []
    assert "may not be sent to" in (only_delivery(catalog).last_error or "")


def test_the_command_line_subscribes_lists_and_sends_again(
    catalog: Catalog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from cli import event_commands

    for name in ("installed_catalog", "running_catalog"):
        monkeypatch.setattr(event_commands, name, lambda: nullcontext(catalog))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(event_commands.events, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    (before, after) = (run(*command).split()[-1] for command in (("subscribe", receiver.url), ("rotate", "1")))
    assert before.startswith("whsec_") and after.startswith("whsec_") and before != after
    promote(catalog, 7)
    work(catalog)
    assert "delivered" in run()
    assert receiver.url in run("subscriptions").replace("\n", "")
    assert "1 events are sent again" in run("replay", "1", "--since", "2026-01-01")
    assert "Nothing more is sent" in run("unsubscribe", "1")
    with catalog.read() as session:
        assert outgoing_events.subscriptions(session) == []


def test_secrets_of_subscriptions_stand_nowhere_in_the_database(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    operator = as_role(catalog, "operator")
    added = subscribe(client, catalog, receiver.url).json
    rotated = client.post(f"{SUBSCRIPTIONS}/{added['id']}/rotate", headers=operator)
    promote(catalog, 3)
    work(catalog)
    ((headers, body),) = receiver.received
    Webhook(rotated.json["secret"]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(added["secret"]).verify(body, headers)
    with catalog.read() as session:
        stored = [str(row) for table in Base.metadata.sorted_tables for row in session.execute(select(table))]
    secrets = (*asdict(catalog.secrets).values(), added["secret"], rotated.json["secret"], headers["webhook-signature"])
    assert any(receiver.url in row for row in stored)
    assert not [row for row in stored if any(secret.removeprefix("whsec_") in row for secret in secrets)]


def test_no_browser_and_no_proxy_stores_the_secret_of_a_subscription(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    added = subscribe(client, catalog, receiver.url)
    rotated = client.post(f"{SUBSCRIPTIONS}/{added.json['id']}/rotate", headers=as_role(catalog, "operator"))
    assert [answer.headers.get("Cache-Control") for answer in (added, rotated)] == ["no-store", "no-store"]


def test_subscriptions_of_an_older_release_wait_for_a_new_secret_and_lose_nothing(
    client: FlaskClient, catalog: Catalog, receiver: Receiver
) -> None:
    operator = as_role(catalog, "operator")
    added = subscribe(client, catalog, receiver.url).json
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0017")
        connection.execute(text("UPDATE subscriptions SET secret = 'whsec_in the clear'"))
    catalog.database.migrate()
    (listed,) = client.get(SUBSCRIPTIONS, headers=operator).json
    assert "glacier-al events rotate 1" in listed["fault"]
    promote(catalog, 3)
    work(catalog)
    delivery = only_delivery(catalog)
    assert (receiver.received, delivery.state, delivery.last_error) == ([], DeliveryState.PENDING, listed["fault"])
    rotated = client.post(f"{SUBSCRIPTIONS}/{added['id']}/rotate", headers=operator).json
    with catalog.database.write() as session:
        session.get_one(Delivery, delivery.id).next_attempt_at = now()
    tick(catalog, reconcile=False)
    work(catalog)
    ((headers, body),) = receiver.received
    Webhook(rotated["secret"]).verify(body, headers)


def test_proxies_and_log_ins_of_the_account_are_not_used(
    client: FlaskClient, catalog: Catalog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password of-the-account")
    for name, value in (("NETRC", str(tmp_path / "netrc")), ("http_proxy", "http://127.0.0.1:9"), ("no_proxy", "")):
        monkeypatch.setenv(name, value)
    subscribe(client, catalog, receiver.url)
    promote(catalog, 3)
    work(catalog)
    ((headers, _),) = receiver.received
    assert "Authorization" not in headers


def test_a_receiver_that_dribbles_its_answer_is_given_up_in_time(
    client: FlaskClient, catalog: Catalog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit between bytes never strikes; that of the job does, here 1 s after the connection is begun."""

    def limited(*arguments: Any) -> Any:
        with DeathPenalty(1, JobTimeoutException):  # type: ignore[no-untyped-call]
            return post(*arguments)

    post = deliver_job._post
    monkeypatch.setattr(deliver_job, "_post", limited)
    receiver.dribbles = True
    subscribe(client, catalog, receiver.url)
    promote(catalog, 3)
    work(catalog)
    delivery = only_delivery(catalog)
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)
    assert delivery.last_error == f"no whole answer within {DELIVERY_LIMIT_S} s"
