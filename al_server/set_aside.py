"""What is set aside because it cannot be used, and what was mended lately."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from al_server.set_aside_schemas import SetAsideAnswer, SetAsidePage, serialize_set_aside
from catalog.paging import cut_out
from catalog.set_aside import SetAside

api = APIBlueprint("set_aside", __name__, url_prefix="/api/v1/set-aside", abp_tags=[Tag(name="integrity")])


@api.get("", responses={200: ListOf[SetAsideAnswer]})
def list_set_aside(query: SetAsidePage) -> Response:
    """List what is set aside, and what has been taken back or mended (`ended_at`), newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    statement = select(SetAside)
    if query.standing:
        statement = statement.where(SetAside.ended_at.is_(None))
    with current_catalog().read() as session:
        found = session.scalars(cut_out(statement, SetAside.id, cut_of(query), newest_first=True)).all()
    answers = [serialize_set_aside(row) for row in found]
    return page_response(answers, query, last_key(found, query, lambda row: row.id))
