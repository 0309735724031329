"""The page of events for other programs, for operators: who is told of them, and what became of each."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import live_mark, render_page
from al_server.paging import show_page
from al_server.subscription_schemas import serialize_delivery, serialize_subscription
from services import outgoing_events

page = Blueprint("events_page", __name__)
SUBSCRIPTIONS_SHOWN: Final = 50
DELIVERIES_SHOWN: Final = 100


@page.get("/events")
def show() -> Response:
    """Return the page; its script adds, changes and removes subscriptions by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        subscribed, subscriptions_pager = show_page(
            "subscriptions",
            SUBSCRIPTIONS_SHOWN,
            lambda cut: outgoing_events.subscriptions(session, cut),
            lambda item: item.id,
            newest_first=False,
        )
        delivered, deliveries_pager = show_page(
            "deliveries", DELIVERIES_SHOWN, lambda cut: outgoing_events.deliveries(session, cut), lambda item: item.id
        )
        subscriptions = [serialize_subscription(item) for item in subscribed]
        deliveries = [serialize_delivery(item) for item in delivered]
    return render_page(
        "events.html",
        live=mark,
        subscriptions=subscriptions,
        deliveries=deliveries,
        subscriptions_pager=subscriptions_pager,
        deliveries_pager=deliveries_pager,
        hosts=catalog.settings.event_hosts,
    )
