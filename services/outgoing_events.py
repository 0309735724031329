"""Events for others, stored in the transaction in which they happen, with a delivery for each subscriber.

`workers.deliver_event` sends deliveries as webhooks that are signed by the Standard Webhooks specification.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from catalog import jobs
from catalog.decision_records import Promotion
from catalog.errors import ConflictError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import JobKind, now
from catalog.registry import ModelVersion
from catalog.webhook_records import Delivery, DeliveryState, OutgoingEvent, Subscription
from services.event_secrets import new_uid

MODEL_PROMOTED: Final = "model.promoted"
CANARY_ALERT: Final = "model.canary_alert"

BACK_OFF: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 8 * 3600, 10 * 3600)
)
"""Delays before the second and each further attempt: the last is made 25.6 hours after the first."""


def announce_promotion(session: Session, decision: Promotion, version: ModelVersion) -> OutgoingEvent:
    """Store that another version is served, for all subscribers to be told.

    Args:
        session: a writing session, in which the version is made the champion.
        decision: the record of the decision.
        version: the version.
    """
    data = {
        "version": version.version,
        "previous_version": decision.previous_version,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "actor": decision.actor,
        "sha256": {
            name.removeprefix("sha256."): tag for name, tag in version.tags.items() if name.startswith("sha256.")
        },
    }
    return _store(session, MODEL_PROMOTED, decision.completed_at, data)


def announce_canary_alert(session: Session, moment: datetime, data: dict[str, Any]) -> OutgoingEvent:
    """Store that what is served now maps the pool very differently from what was served before (`services.canary`).

    Args:
        session: a writing session.
        moment: when that was found.
        data: the figures, with both versions.
    """
    return _store(session, CANARY_ALERT, moment, data)


def subscribe(session: Session, url: str, who: str, allowed: Sequence[str]) -> Subscription:
    """Add a subscription with a secret of its own; it is told of what happens from now on.

    Args:
        session: a writing session.
        url: where events are posted.
        who: the person or token that asks for it.
        allowed: hosts that may be told (setting ``event_hosts``).

    Raises:
        ConflictError: events must not be sent there, or are sent there already.
    """
    check_address(url, allowed)
    if session.scalar(select(Subscription.id).where(Subscription.url == url, Subscription.removed_at.is_(None))):
        raise ConflictError(f"events are sent to {url} already; rotate that subscription to get a new secret")
    added = Subscription(url=url, uid=new_uid(), created_by=who)
    session.add(added)
    session.flush()
    return added


def check_address(url: str, allowed: Sequence[str]) -> None:
    """Refuse an address that events must not be sent to.

    Only hosts that the setting names: else whoever may subscribe could make this server send requests to addresses that
    only it can reach.

    Raises:
        ConflictError: it is none, or its host is not allowed.
    """
    if not url.isprintable():  # urlsplit drops tabs and line ends; who sends may not
        raise ConflictError("found characters that cannot be printed in the address; expected none")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError unless it is a number up to 65535
    except ValueError as error:  # its text holds the host, perhaps with a log-in
        raise ConflictError("found an address whose host or port is none; expected http(s)://host:port/...") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        found = (
            f"scheme {parts.scheme!r} and host {parts.hostname!r}"  # the rest may hold a key, and readers see errors
        )
        raise ConflictError(f"found an address with {found}, expected http(s)://host/... without a log-in or fragment")
    if parts.netloc not in allowed:
        named = ", ".join(allowed) or "none"
        raise ConflictError(f"events may not be sent to {parts.netloc}; the setting event_hosts allows {named}")


def subscriptions(session: Session, cut: Cut | None = None) -> Sequence[Subscription]:
    """Return the subscriptions that are not removed, oldest first; all of them, or a page."""
    standing = select(Subscription).where(Subscription.removed_at.is_(None))
    return session.scalars(cut_out(standing, Subscription.id, cut, newest_first=False)).all()


def find_subscription(session: Session, number: int) -> Subscription:
    """Return a subscription that is not removed.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = session.get(Subscription, number)
    if found is None or found.removed_at is not None:
        raise NotFoundError(f"there is no subscription {number}")
    return found


def rotate(session: Session, number: int) -> Subscription:
    """Give a subscription another secret; all attempts from now on are signed with it, also of earlier events.

    Raises:
        NotFoundError: there is no subscription with this number.
    """
    found = find_subscription(session, number)
    found.uid = new_uid()
    return found


def unsubscribe(session: Session, number: int) -> Subscription:
    """Remove a subscription; what was not delivered yet will not be.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = find_subscription(session, number)
    found.removed_at = now()
    pending = select(Delivery).where(Delivery.subscription_id == number, Delivery.state == DeliveryState.PENDING)
    for delivery in session.scalars(pending):
        delivery.state, delivery.next_attempt_at = DeliveryState.DEAD, None
        delivery.last_error = "the subscription was removed"
    return found


def replay(session: Session, number: int, since: datetime) -> list[Delivery]:
    """Send all events since a moment again to a subscriber, with their ids as before; return their deliveries.

    Raises:
        NotFoundError: there is no such subscription.
    """
    subscription = find_subscription(session, number)
    events = select(OutgoingEvent).where(OutgoingEvent.happened_at >= since).order_by(OutgoingEvent.id)
    known = {
        item.event_id: item for item in session.scalars(select(Delivery).where(Delivery.subscription_id == number))
    }
    again = []
    for event in session.scalars(events):
        delivery = known.get(event.id) or Delivery(subscription_id=subscription.id, event_id=event.id)
        session.add(delivery)
        delivery.state, delivery.attempts, delivery.next_attempt_at = DeliveryState.PENDING, 0, now()
        delivery.delivered_at = None
        session.flush()
        _enqueue(session, delivery)
        again.append(delivery)
    return again


def note_attempt(session: Session, delivery: Delivery, status: int | None, error: str | None) -> None:
    """Note an attempt of a delivery, and plan the next one after a failure, or give it up.

    Args:
        session: a writing session.
        delivery: the delivery.
        status: HTTP status of the answer; None if there was none.
        error: what failed; None if it was delivered.
    """
    delivery.attempts += 1
    delivery.last_status, delivery.last_error = status, error
    if error is None:
        delivery.state, delivery.next_attempt_at, delivery.delivered_at = DeliveryState.DELIVERED, None, now()
    elif delivery.attempts > len(BACK_OFF):
        delivery.state, delivery.next_attempt_at = DeliveryState.DEAD, None
    else:
        delivery.next_attempt_at = now() + BACK_OFF[delivery.attempts - 1]


def enqueue_due(session: Session) -> None:
    """Enqueue a job for each delivery whose next attempt is due."""
    due = select(Delivery).where(Delivery.state == DeliveryState.PENDING, Delivery.next_attempt_at <= now())
    for delivery in session.scalars(due):
        _enqueue(session, delivery)


def deliveries(session: Session, cut: Cut, state: DeliveryState | None = None) -> Sequence[Delivery]:
    """Return a page of the deliveries, newest first: of all, or of those in one state."""
    statement = select(Delivery).options(joinedload(Delivery.event), joinedload(Delivery.subscription))
    if state is not None:
        statement = statement.where(Delivery.state == state)
    return session.scalars(cut_out(statement, Delivery.id, cut, newest_first=True)).all()


def given_up(session: Session, cut: Cut) -> Sequence[Delivery]:
    """Return a page of the deliveries that were given up, newest first, without those of removed subscriptions."""
    loaded = _given_up().options(joinedload(Delivery.event), joinedload(Delivery.subscription))
    return session.scalars(cut_out(loaded, Delivery.id, cut, newest_first=True)).all()


def count_given_up(session: Session) -> int:
    """Return the number of `given_up`."""
    return session.scalar(select(func.count()).select_from(_given_up().subquery())) or 0


def _given_up() -> Select[Delivery]:
    standing = select(Delivery).join(Delivery.subscription).where(Subscription.removed_at.is_(None))
    return standing.where(Delivery.state == DeliveryState.DEAD)


def _store(session: Session, kind: str, moment: datetime, data: dict[str, Any]) -> OutgoingEvent:
    event = OutgoingEvent(
        type=kind, happened_at=moment, body={"type": kind, "timestamp": moment.isoformat(), "data": data}
    )
    session.add(event)
    session.flush()
    for subscription in subscriptions(session):
        delivery = Delivery(subscription_id=subscription.id, event_id=event.id)
        session.add(delivery)
        session.flush()
        _enqueue(session, delivery)
    return event


def _enqueue(session: Session, delivery: Delivery) -> None:
    jobs.enqueue(session, JobKind.DELIVER_EVENT, str(delivery.id), delivery_id=delivery.id)
