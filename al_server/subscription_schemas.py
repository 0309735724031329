"""Schemas of requests and answers about subscriptions to events, and their deliveries."""

from datetime import datetime

from pydantic import BaseModel, Field

from al_server.schemas import NewestPage, serialize_row
from catalog.webhook_records import Delivery, DeliveryState, Subscription
from services import event_secrets
from services.request_types import Body, Closed, Integer, Time


class SubscriptionId(Closed):
    """The number of a subscription."""

    subscription_id: Integer


class DeliveryPage(NewestPage):
    """A page of the deliveries of events, newest first."""

    state: DeliveryState | None = None


class SubscriptionRequest(Body):
    """Where events are to be sent."""

    url: str = Field(max_length=2000, description="an address whose host the setting event_hosts names")


class ReplayRequest(Body):
    """Since when events are to be sent again."""

    since: Time = Field(description="with its time zone, e.g. 2026-11-26T12:00:00Z")


class SubscriptionAnswer(BaseModel):
    """An address that is told of events."""

    id: int
    url: str
    created_by: str
    created_at: datetime
    fault: str | None = Field(description="why it is told nothing at present; null: nothing is wrong")


class NewSubscription(SubscriptionAnswer):
    """A subscription and its new secret, with which receivers check signatures."""

    secret: str


class ReplayAnswer(BaseModel):
    """How many events are sent again."""

    events: int


class DeliveryAnswer(BaseModel):
    """One event for one subscriber."""

    id: int
    subscription_id: int
    url: str
    event: str = Field(description="id of the event, which is the header webhook-id")
    type: str
    happened_at: datetime
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None


def serialize_subscription(subscription: Subscription) -> SubscriptionAnswer:
    """Return a subscription, without its secret."""
    return serialize_row(SubscriptionAnswer, subscription, fault=event_secrets.fault_of(subscription))


def serialize_delivery(delivery: Delivery) -> DeliveryAnswer:
    """Return what became of an event for a subscriber."""
    event = delivery.event
    return serialize_row(
        DeliveryAnswer,
        delivery,
        url=delivery.subscription.url,
        event=event.uid,
        type=event.type,
        happened_at=event.happened_at,
    )
