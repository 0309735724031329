"""Label events: Label Studio's webhook, and the ledger of the events received."""

import hmac

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import allow_large_body, current_catalog, current_parts, json_response
from al_server.event_schemas import (
    EventAnswer,
    EventId,
    EventPage,
    ReconciliationAnswer,
    Recorded,
    serialize_event,
    serialize_reconciliation,
)
from al_server.paging import cut_of, last_key, page_response
from al_server.problems import problem
from al_server.schemas import ListOf, NewestPage
from catalog import labels
from catalog.paging import cut_out
from catalog.reconciliation_records import Reconciliation
from catalog.records import LabelEvent
from labeling.events import UnreadableEvent, parse_event
from labeling.webhook import SECRET_HEADER

api = APIBlueprint("label_events", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="label events")])


@api.post("/webhooks/label-studio", responses={200: Recorded, 202: Recorded})
def receive() -> Response:
    """Receive a label event from Label Studio: 202 if it is new, 200 if it is stored already.

    An event with a field that cannot be read is stored as failed, so that no drawing is lost, and answered with 422.
    Label Studio waits for the response while it serves the annotator's request, gives up after a second, and never
    sends an event again. So the event is only stored here, and a thread of its own hands the job to Redis.
    """
    secret = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(secret.encode(), current_catalog().secrets.webhook_secret.encode()):
        return problem(401, f"the header {SECRET_HEADER} does not hold the webhook secret of this server")
    limit = allow_large_body()
    body = request.get_data(cache=False)
    events = parse_event(body, limit)
    recorded = current_parts().label_inbox.record(events, body)
    unreadable = [event.reason for event in events if isinstance(event, UnreadableEvent)]
    if events and len(unreadable) == len(events):
        return problem(422, f"{unreadable[0]} It is kept among the failed label events, and can be replayed.")
    return json_response(Recorded(recorded=recorded), 202 if recorded else 200)


@api.get("/label-events", responses={200: ListOf[EventAnswer]})
def list_events(query: EventPage) -> Response:
    """List the ledger, oldest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    statement = select(LabelEvent)
    if query.state is not None:
        statement = statement.where(LabelEvent.state == query.state)
    with current_catalog().read() as session:
        found = session.scalars(cut_out(statement, LabelEvent.id, cut_of(query), newest_first=False)).all()
    answers = [serialize_event(event) for event in found]
    return page_response(answers, query, last_key(found, query, lambda event: event.id))


@api.get("/reconciliations", responses={200: ListOf[ReconciliationAnswer]})
def list_reconciliations(query: NewestPage) -> Response:
    """List the comparisons with Label Studio that were full or found a difference, newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    newest = cut_out(select(Reconciliation), Reconciliation.id, cut_of(query), newest_first=True)
    with current_catalog().read() as session:
        found = session.scalars(newest).all()
    answers = [serialize_reconciliation(row) for row in found]
    return page_response(answers, query, last_key(found, query, lambda row: row.id))


@api.post("/label-events/<int:event_id>/replay", responses={202: EventAnswer})
def replay(path: EventId) -> Response:
    """Ingest a failed event again."""
    with current_catalog().write() as session:
        replayed = serialize_event(labels.replay(session, path.event_id))
    return json_response(replayed, 202)
