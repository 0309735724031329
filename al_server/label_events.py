"""Label events: Label Studio's webhook, and the ledger of all that it said."""

import hmac

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import catalog, json_response
from al_server.problems import problem
from al_server.schemas import EventAnswer, EventId, EventPage, ListOf, Recorded
from al_server.serializers import serialize_event
from catalog import labels
from catalog.context import enqueued
from catalog.records import LabelEvent
from labeling.events import parse_event
from labeling.webhook import SECRET_HEADER
from services import label_events

api = APIBlueprint("label_events", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="label events")])


@api.post("/webhooks/label-studio", responses={200: Recorded, 202: Recorded})
def receive() -> Response:
    """Take a label event: verify, store, commit, answer; and only then tell the workers.

    Label Studio waits for this answer inside the annotator's own request, gives up after a second, and never sends an
    event again. A repeated event is a quiet 200.
    """
    known = catalog()
    secret = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(secret.encode(), known.secrets.webhook_secret.encode()):
        return problem(401, f"the header {SECRET_HEADER} does not carry the secret of this server's webhook")
    limit = known.settings.webhook_max_bytes
    request.max_content_length = limit
    body = request.get_data(cache=False)
    events = parse_event(body, limit)
    with known.database.write() as session:
        new = label_events.record(session, events, body, "webhook")
        answered = json_response(Recorded(recorded=[event.id for event in new]), 202 if new else 200)
    jobs = enqueued(session)
    answered.call_on_close(lambda: known.dispatch(jobs))
    return answered


@api.get("/label-events", responses={200: ListOf[EventAnswer]})
def list_events(query: EventPage) -> Response:
    """List the ledger, oldest first."""
    statement = select(LabelEvent).where(LabelEvent.id > query.after).order_by(LabelEvent.id).limit(query.limit)
    if query.state is not None:
        statement = statement.where(LabelEvent.state == query.state)
    with catalog().read() as session:
        return json_response([serialize_event(event) for event in session.scalars(statement)])


@api.post("/label-events/<int:event_id>/replay", responses={202: EventAnswer})
def replay(path: EventId) -> Response:
    """Ingest a failed event again."""
    with catalog().write() as session:
        replayed = serialize_event(labels.replay(session, path.event_id))
    return json_response(replayed, 202)
