"""Outgoing webhooks: who is told of events, what became of each delivery, and sending events again."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, json_response, secret_response
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf, LongPage
from al_server.subscription_schemas import (
    DeliveryAnswer,
    DeliveryPage,
    NewSubscription,
    ReplayAnswer,
    ReplayRequest,
    SubscriptionAnswer,
    SubscriptionId,
    SubscriptionRequest,
    serialize_delivery,
    serialize_subscription,
)
from catalog.webhook_records import Subscription
from services import outgoing_events
from services.event_secrets import signing_secret

api = APIBlueprint("subscriptions", __name__, url_prefix="/api/v1/subscriptions", abp_tags=[Tag(name="events")])


@api.get("", responses={200: ListOf[SubscriptionAnswer]})
def list_subscriptions(query: LongPage) -> Response:
    """List who is told of events, in the order in which they were added.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = outgoing_events.subscriptions(session, cut_of(query))
        answers = [serialize_subscription(item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda item: item.id))


@api.post("", responses={201: NewSubscription})
def subscribe(body: SubscriptionRequest) -> Response:
    """Have events sent to an address from now on; the answer holds the secret of the signatures, this once only."""
    catalog = current_catalog()
    with catalog.write() as session:
        added = outgoing_events.subscribe(session, body.url, actor(), catalog.settings.event_hosts)
        answer = _with_secret(added)
    return secret_response(answer, 201)


@api.post("/<int:subscription_id>/rotate", responses={200: NewSubscription})
def rotate(path: SubscriptionId) -> Response:
    """Replace the secret of a subscription at once; the answer holds the new one, this once only."""
    with current_catalog().write() as session:
        return secret_response(_with_secret(outgoing_events.rotate(session, path.subscription_id)))


@api.delete("/<int:subscription_id>", responses={200: SubscriptionAnswer})
def unsubscribe(path: SubscriptionId) -> Response:
    """Stop telling an address; what is not delivered yet will not be."""
    with current_catalog().write() as session:
        return json_response(serialize_subscription(outgoing_events.unsubscribe(session, path.subscription_id)))


@api.post("/<int:subscription_id>/replay", responses={202: ReplayAnswer})
def replay(path: SubscriptionId, body: ReplayRequest) -> Response:
    """Send all events since a time to a subscriber again, those that were delivered or given up included."""
    with current_catalog().write() as session:
        again = outgoing_events.replay(session, path.subscription_id, body.since)
    return json_response(ReplayAnswer(events=len(again)), 202)


@api.get("/deliveries", responses={200: ListOf[DeliveryAnswer]})
def list_deliveries(query: DeliveryPage) -> Response:
    """List deliveries, newest first; with ``state=dead`` those that were given up after a day.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = outgoing_events.deliveries(session, cut_of(query), query.state)
        answers = [serialize_delivery(item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda item: item.id))


def _with_secret(subscription: Subscription) -> NewSubscription:
    secret = signing_secret(current_catalog().secrets.event_signing_key, subscription)
    return NewSubscription(**serialize_subscription(subscription).model_dump(), secret=secret)
