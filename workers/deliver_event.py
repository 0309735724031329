"""Job: send an event to a subscriber, as a webhook signed by the Standard Webhooks specification."""

import json
import logging
import os
from typing import Final

import requests
from standardwebhooks import Webhook

from catalog.context import DELIVERY_LIMIT_S
from catalog.errors import ConflictError
from catalog.records import now
from catalog.webhook_records import Delivery, DeliveryState
from services.event_secrets import signing_secret
from services.outgoing_events import check_address, note_attempt
from workers.jobs import JobContext
from workers.time_limit import JobTimeLimit

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
"""How long a subscriber may take to accept the connection, and between bytes of its answer."""


def deliver_event(context: JobContext, delivery_id: int) -> None:
    """Make one attempt of a delivery and note how it ended; the clock enqueues the next one when it is due.

    Idempotent as far as a receiver can see: all attempts carry the event's id. A failure is an outcome of the delivery,
    not of this job.
    """
    catalog = context.catalog
    with catalog.read() as session:
        delivery = session.get_one(Delivery, delivery_id)
        if delivery.state is not DeliveryState.PENDING:
            return
        event, subscription = delivery.event, delivery.subscription
    body = json.dumps(event.body, separators=(",", ":"))
    moment = now()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "glacier-al",
        "webhook-id": event.uid,
        "webhook-timestamp": str(int(moment.timestamp())),
    }
    status: int | None = None
    try:
        check_address(subscription.url, catalog.settings.event_hosts)  # the setting may have changed since
        secret = signing_secret(catalog.secrets.event_signing_key, subscription)
    except ConflictError as conflict:
        error: str | None = str(conflict)
    else:
        headers["webhook-signature"] = Webhook(secret).sign(event.uid, moment, body)
        status, error = _post(subscription.url, body, headers)
    with catalog.database.write() as session:
        noted = session.get_one(Delivery, delivery_id)
        if noted.state is DeliveryState.PENDING:  # else it was removed meanwhile
            note_attempt(session, noted, status, error)
    if error is not None:
        log.warning("event %s was not delivered to subscription %d: %s", event.uid, subscription.id, error)


def _post(url: str, body: str, headers: dict[str, str]) -> tuple[int | None, str | None]:
    """Post the body; return the status of the answer, and what is wrong with it.

    Proxies and log-ins of the account (``HTTPS_PROXY``, ``~/.netrc``) are not used: the former would send events to a
    host that the setting does not name, the latter a log-in to a receiver. ``REQUESTS_CA_BUNDLE`` is.
    """
    try:
        with requests.Session() as http:
            http.trust_env = False
            http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True  # an organisation's own authority stays trusted
            # Redirects are not followed: they could lead to a host that is not allowed. The answer's body is not read.
            with http.post(
                url, data=body.encode(), headers=headers, timeout=TIMEOUT_S, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
    except JobTimeLimit:  # it sends a little again and again
        return None, f"no whole answer within {DELIVERY_LIMIT_S} s"
    except requests.RequestException as error:
        return None, f"no answer ({type(error).__name__})"
    return status, None if 200 <= status < 300 else f"it answered {status}, expected 200 to 299"
