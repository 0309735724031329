"""The page of people and tokens, for administrators: who may do what, and buttons that change it by the API."""

from flask import Blueprint, Response

from al_server.access_schemas import serialize_token, serialize_user
from al_server.context import current_catalog
from al_server.page_frame import render_page
from catalog.records import now
from services import tokens, users

page = Blueprint("people_page", __name__)


@page.get("/people")
def show() -> Response:
    """Return the page; its script adds and changes people and tokens by the API."""
    catalog = current_catalog()
    with catalog.read() as session:
        people = [serialize_user(user) for user in users.listed(session)]
        programs = [serialize_token(row) for row in tokens.listed(session)]
    return render_page("people.html", users=people, tokens=programs, now=now(), settings=catalog.settings)
