"""Webhooks as the server signs them (`workers.deliver_event`), by the library of the specification."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from glacier_al_client import webhooks
from glacier_al_client.errors import UnexpectedAnswerError
from glacier_al_client.webhooks import SignatureError, read_event
from services import outgoing_events

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type": "model.promoted", "timestamp": "2026-11-26T12:00:00+00:00", "data": {"version": 4}}'


def headers(body: bytes = BODY, secret: str = SECRET, age: timedelta = timedelta()) -> dict[str, str]:
    moment = datetime.now(UTC) - age
    signature = Webhook(secret).sign("evt_1", moment, body.decode())
    return {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": signature,
    }


def test_a_signed_event_is_read() -> None:
    event = read_event(BODY, headers(), SECRET)
    assert (event.type, event.data) == (webhooks.MODEL_PROMOTED, {"version": 4})
    assert event.timestamp == datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (BODY.replace(b"4", b"5"), headers()),
        (BODY, headers(secret="whsec_" + 32 * "A")),
        (BODY, headers(age=timedelta(minutes=6))),
        (BODY, {}),
        (BODY, headers() | {"Webhook-Signature": "v1,no base64"}),
        (BODY, headers() | {"Webhook-Signature": "v1"}),
        (b"\xff", headers()),
    ],
    ids=["changed", "another secret", "old", "unsigned", "no base64", "no signature", "no text"],
)
def test_another_request_is_refused(body: bytes, sent: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        read_event(body, sent, SECRET)


def test_a_signed_body_that_is_no_event_is_told_apart() -> None:
    with pytest.raises(UnexpectedAnswerError):
        read_event(b"[]", headers(b"[]"), SECRET)


def test_the_types_are_those_of_the_server() -> None:
    assert webhooks.MODEL_PROMOTED == outgoing_events.MODEL_PROMOTED
    assert webhooks.CANARY_ALERT == outgoing_events.CANARY_ALERT
