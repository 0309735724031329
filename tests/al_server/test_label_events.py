"""Label Studio waits for the webhook's answer inside the annotator's own request, and never repeats an event."""

import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import undefer
from werkzeug.test import TestResponse

from al_server.app import create_app
from catalog import labels
from catalog.context import Catalog
from catalog.records import EventState, Job, LabelEvent
from catalog.settings import Settings
from labeling.events import TaskDeleted, parse_event
from labeling.webhook import SECRET_HEADER
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import NO_REDIS, as_role, pushed
from tests.labeling.payloads import body, saved

WEBHOOK, EVENTS = "/api/v1/webhooks/label-studio", "/api/v1/label-events"


def send(client: FlaskClient, catalog: Catalog, data: bytes, **headers: str) -> TestResponse:
    """Deliver an event as Label Studio does, to the end: what follows the answer has happened."""
    secret = {SECRET_HEADER: catalog.secrets.webhook_secret, **headers}
    with client.post(WEBHOOK, data=data, content_type="application/json", headers=secret) as response:
        response.get_data()
        return response


def ledger(catalog: Catalog) -> list[LabelEvent]:
    with catalog.read() as session:
        return session.query(LabelEvent).options(undefer(LabelEvent.body)).order_by(LabelEvent.id).all()


def count_jobs(catalog: Catalog) -> int:
    with catalog.read() as session:
        return session.query(Job).count()


def test_an_event_is_stored_as_received_and_its_ingestion_enqueued(client: FlaskClient, catalog: Catalog) -> None:
    data = body(saved())
    response = send(client, catalog, data)
    assert response.status_code == 202
    (event,) = ledger(catalog)
    assert response.json == {"recorded": [event.id]}
    assert (event.action, event.origin, event.state) == ("ANNOTATION_CREATED", "webhook", EventState.RECEIVED)
    assert (event.project_id, event.task_id, event.annotation_id) == (15, 188, 107)
    assert event.body == data
    with catalog.read() as session:
        job = session.query(Job).one()
    assert job.subject == {"event_id": event.id}
    assert pushed(catalog) == [f"{job.id}-0"]


def test_a_repeat_is_a_quiet_200_and_changes_nothing(client: FlaskClient, catalog: Catalog) -> None:
    send(client, catalog, body(saved()))
    before = pushed(catalog)
    for _ in range(3):
        response = send(client, catalog, body(saved()))
        assert (response.status_code, response.json) == (200, {"recorded": []})
    assert (len(ledger(catalog)), count_jobs(catalog), pushed(catalog)) == (1, 1, before)


def test_an_update_is_an_event_of_its_own(client: FlaskClient, catalog: Catalog) -> None:
    send(client, catalog, body(saved()))
    updated = saved("ANNOTATION_UPDATED", updated_at="2026-11-21T09:20:00.000000Z")
    assert send(client, catalog, body(updated)).status_code == 202
    assert len(ledger(catalog)) == 2


def test_a_bulk_deletion_is_one_event_per_annotation(client: FlaskClient, catalog: Catalog) -> None:
    bulk = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 107}, {"id": 108}], "project": {"id": 15}}
    assert len(send(client, catalog, body(bulk)).json["recorded"]) == 2
    assert [event.annotation_id for event in ledger(catalog)] == [107, 108]
    assert send(client, catalog, body(bulk)).status_code == 200


def test_each_deletion_of_a_bulk_is_stored_alone(client: FlaskClient, catalog: Catalog) -> None:
    """Stored whole with each, a bulk of ten thousand would be stored ten thousand times."""
    tasks = [{"id": 9}, {"id": 10}]
    send(client, catalog, body({"action": "TASKS_DELETED", "tasks": tasks, "project": {"id": 15}}))
    stored = [parse_event(event.body, 1000) for event in ledger(catalog)]
    assert stored == [[TaskDeleted(9, 15)], [TaskDeleted(10, 15)]]


def test_what_does_not_concern_us_is_accepted_and_forgotten(client: FlaskClient, catalog: Catalog) -> None:
    response = send(client, catalog, body({"action": "PROJECT_UPDATED", "project": {"id": 15}}))
    assert (response.status_code, response.json) == (200, {"recorded": []})
    assert ledger(catalog) == []


@pytest.mark.parametrize("secret", ["", "wrong", "é"])
def test_a_wrong_secret_stores_nothing(client: FlaskClient, catalog: Catalog, secret: str) -> None:
    assert_problem(send(client, catalog, body(saved()), **{SECRET_HEADER: secret}), 401, SECRET_HEADER)
    assert ledger(catalog) == []


def test_a_token_is_no_webhook_secret(client: FlaskClient, catalog: Catalog) -> None:
    response = client.post(WEBHOOK, data=body(saved()), headers=as_role(catalog, "operator"))
    assert_problem(response, 401, SECRET_HEADER)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in saved().items() if key != name}


@pytest.mark.parametrize(
    ("data", "fragments"),
    [
        (b"", ["not JSON"]),
        (b"{", ["not JSON"]),
        (b"\xff\xfe", ["not JSON"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b"[]", ["list", "expected an object"]),
        (body({"action": "ANNOTATION_APPROVED"}), ["Unknown action 'ANNOTATION_APPROVED'"]),
        (body(without("action")), ["'action' is missing"]),
    ],
)
def test_what_is_no_event_is_refused_and_stores_nothing(
    client: FlaskClient, catalog: Catalog, data: bytes, fragments: list[str]
) -> None:
    assert_problem(send(client, catalog, data), 422, *fragments)
    assert ledger(catalog) == []


@pytest.mark.parametrize(
    ("payload", "fragments"),
    [
        (without("annotation"), ["'annotation' is missing"]),
        (saved(result=None), ["'annotation.result' is null", "expected list"]),
        (saved(id="107"), ["'annotation.id' is str", "expected int"]),
        (saved(id=2**63), ["'annotation.id'"]),
        (saved(lead_time=1e300), ["'annotation.lead_time'"]),
        (saved(updated_at="yesterday"), ["'annotation.updated_at'", "ISO 8601"]),
        (saved(updated_at="9999-12-31T23:59:59-23:59"), ["'annotation.updated_at'", "9999"]),
        (saved(created_at="0001-01-01T00:00:00+23:59"), ["'annotation.created_at'", "years 1970 to 9998"]),
        ({"action": "TASKS_DELETED", "tasks": [{"id": "9"}], "project": {"id": 15}}, ["'tasks.id' is str"]),
        (saved(result=json.loads("[" * 900 + "]" * 900)), ["'annotation' is nested more than 254 levels deep"]),
    ],
)
def test_an_event_that_cannot_be_read_is_stored_as_failed_with_the_reason(
    client: FlaskClient, catalog: Catalog, payload: dict[str, Any], fragments: list[str]
) -> None:
    response = send(client, catalog, body(payload))
    (event,) = ledger(catalog)
    assert_problem(response, 422, *fragments, "kept among the failed label events")
    assert (event.state, event.body) == (EventState.FAILED, body(payload))
    assert all(fragment in (event.detail or "") for fragment in fragments)
    assert (count_jobs(catalog), pushed(catalog)) == (0, [])
    assert_problem(send(client, catalog, body(payload)), 422, *fragments)
    assert len(ledger(catalog)) == 1

    replayed = client.post(f"{EVENTS}/{event.id}/replay", headers=as_role(catalog, "annotator"))
    assert replayed.status_code == 202
    assert count_jobs(catalog) == 1


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: FlaskClient, catalog: Catalog) -> None:
    assert_problem(send(client, catalog, b" " * (catalog.settings.webhook_max_bytes + 1)), 413, "capacity limit")
    assert ledger(catalog) == []


def large_event() -> bytes:
    """An event of 5 MB: the run lengths of a speckled mask, and the shown prediction sent along."""
    event = saved()
    rle = [number % 256 for number in range(600_000)]
    for region in event["annotation"]["result"], event["annotation"]["prediction"]["result"]:
        region[0]["value"]["rle"] = rle
    return body(event)


def test_a_large_event_is_answered_at_once(client: FlaskClient, catalog: Catalog) -> None:
    data = large_event()
    assert len(data) > 5 * 10**6
    send(client, catalog, body(saved(id=1)))  # the first request of an app is slower
    started = time.perf_counter()
    assert send(client, catalog, data).status_code == 202
    assert time.perf_counter() - started < 0.5  # Label Studio gives up after 1 s
    assert ledger(catalog)[1].body == data


def test_redis_down_loses_nothing(catalog: Catalog, settings: Settings) -> None:
    down = Catalog(settings.model_copy(update={"redis_url": NO_REDIS}))
    response = send(create_app(down).test_client(), down, body(saved()))
    down.close()
    assert response.status_code == 202
    assert len(ledger(catalog)) == 1
    catalog.sweep()
    assert len(pushed(catalog)) == 1


def test_the_ledger_is_listed_by_state_and_page(client: FlaskClient, catalog: Catalog) -> None:
    for annotation_id in range(1, 6):
        send(client, catalog, body(saved(id=annotation_id)))
    with catalog.database.write() as session:
        labels.mark_failed(session, 3, "malformed RLE")

    def listed(query: str) -> list[int]:
        return [item["id"] for item in client.get(f"{EVENTS}{query}", headers=as_role(catalog, "reader")).json]

    assert listed("") == [1, 2, 3, 4, 5]
    assert listed("?after=2&limit=2") == [3, 4]
    assert listed("?state=failed") == [3]
    (failed,) = client.get(f"{EVENTS}?state=failed", headers=as_role(catalog, "reader")).json
    assert (failed["detail"], failed["annotation_id"]) == ("malformed RLE", 3)
    assert "body" not in failed


def test_a_failed_event_is_replayed(client: FlaskClient, catalog: Catalog) -> None:
    send(client, catalog, body(saved()))
    address = f"{EVENTS}/1/replay"
    assert_problem(client.post(address, headers=as_role(catalog, "annotator")), 409, "only a failed event")
    with catalog.database.write() as session:
        labels.mark_failed(session, 1, "malformed RLE")
        session.query(Job).delete()
    response = client.post(address, headers=as_role(catalog, "annotator"))
    assert (response.status_code, response.json["state"], response.json["detail"]) == (202, "received", None)
    assert count_jobs(catalog) == 1
