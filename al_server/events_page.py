"""The page of events for other programs, for operators: who is told of them, and what became of each."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import live_mark, render_page
from al_server.subscription_schemas import serialize_delivery, serialize_subscription
from services import outgoing_events

page = Blueprint("events_page", __name__)
DELIVERIES_SHOWN: Final = 100  # the newest ones


@page.get("/events")
def show() -> Response:
    """Return the page; its script adds, changes and removes subscriptions by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        subscriptions = [serialize_subscription(item) for item in outgoing_events.subscriptions(session)]
        deliveries = [serialize_delivery(item) for item in outgoing_events.deliveries(session, DELIVERIES_SHOWN)]
    return render_page(
        "events.html",
        live=mark,
        subscriptions=subscriptions,
        deliveries=deliveries,
        shown=DELIVERIES_SHOWN,
        hosts=catalog.settings.event_hosts,
    )
