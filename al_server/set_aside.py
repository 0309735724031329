"""What is set aside because it cannot be used, and what was mended lately."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog, json_response
from al_server.schemas import ListOf
from al_server.set_aside_schemas import SetAsideAnswer, SetAsidePage, serialize_set_aside
from catalog.set_aside import SetAside

api = APIBlueprint("set_aside", __name__, url_prefix="/api/v1/set-aside", abp_tags=[Tag(name="integrity")])


@api.get("", responses={200: ListOf[SetAsideAnswer]})
def list_set_aside(query: SetAsidePage) -> Response:
    """List what is set aside, and what has been taken back or mended (`ended_at`), newest first."""
    statement = select(SetAside).order_by(SetAside.id.desc()).limit(query.limit)
    if query.standing:
        statement = statement.where(SetAside.ended_at.is_(None))
    with current_catalog().read() as session:
        return json_response([serialize_set_aside(row) for row in session.scalars(statement)])
