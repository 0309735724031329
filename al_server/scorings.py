"""Scorings of the pool: progress, and stability of their rankings."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from al_server.scoring_schemas import ScoringAnswer, ScoringPage, serialize_scoring
from catalog.paging import cut_out
from catalog.records import Scoring

api = APIBlueprint("scorings", __name__, url_prefix="/api/v1/scorings", abp_tags=[Tag(name="scorings")])


@api.get("", responses={200: ListOf[ScoringAnswer]})
def list_scorings(query: ScoringPage) -> Response:
    """List scorings of the pool, newest first, each with its progress over all workers.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    statement = cut_out(select(Scoring), Scoring.id, cut_of(query), newest_first=True)
    with current_catalog().read() as session:
        found = session.scalars(statement).all()
        answers = [serialize_scoring(session, item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda row: row.id))
