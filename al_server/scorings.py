"""Scorings of the pool: progress, and stability of their rankings."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog, json_response
from al_server.schemas import ListOf
from al_server.scoring_schemas import ScoringAnswer, ScoringPage, serialize_scoring
from catalog.records import Scoring

api = APIBlueprint("scorings", __name__, url_prefix="/api/v1/scorings", abp_tags=[Tag(name="scorings")])


@api.get("", responses={200: ListOf[ScoringAnswer]})
def list_scorings(query: ScoringPage) -> Response:
    """List scorings of the pool, newest first, each with its progress over all workers."""
    statement = select(Scoring).order_by(Scoring.id.desc()).limit(query.limit)
    with current_catalog().read() as session:
        return json_response([serialize_scoring(session, item) for item in session.scalars(statement)])
