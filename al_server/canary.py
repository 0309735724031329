"""Canary comparisons: how far what is served now maps the pool otherwise than what was served before."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.canary_schemas import AcknowledgementRequest, CanaryAnswer, CanaryPage, ComparisonId, serialize_canary
from al_server.context import current_catalog, json_response
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from services import canary

api = APIBlueprint("canary", __name__, url_prefix="/api/v1/canary", abp_tags=[Tag(name="models")])


@api.get("", responses={200: ListOf[CanaryAnswer]})
def list_comparisons(query: CanaryPage) -> Response:
    """List the comparisons made after each change of the served version, newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = canary.comparisons(session, cut_of(query), standing=query.standing)
        answers = [serialize_canary(session, item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda row: row.id))


@api.post("/<int:comparison_id>/acknowledge", responses={200: CanaryAnswer})
def acknowledge(path: ComparisonId, body: AcknowledgementRequest) -> Response:
    """Note that a person has looked at an alert, which then no longer stands."""
    with current_catalog().write() as session:
        found = canary.acknowledge(session, path.comparison_id, actor(), body.note)
        return json_response(serialize_canary(session, found))
