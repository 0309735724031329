"""The page of people and tokens, for administrators: who may do what, and buttons that change it by the API."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from flask import Blueprint, Response

from al_server.access_schemas import serialize_token, serialize_user
from al_server.context import current_catalog
from al_server.page_frame import render_page
from al_server.paging import Pager, show_page
from catalog.access_records import AccessToken, User
from catalog.paging import Cut
from catalog.records import now
from services import tokens, users

page = Blueprint("people_page", __name__)
SHOWN: Final = 100
Named = TypeVar("Named", User, AccessToken)


@page.get("/people")
def show() -> Response:
    """Return the page; its script adds and changes people and tokens by the API."""
    catalog = current_catalog()
    with catalog.read() as session:
        people, people_pager = _shown("people", lambda cut: users.listed(session, cut))
        programs, tokens_pager = _shown("tokens", lambda cut: tokens.listed(session, cut))
        owners = users.who_may_log_in(session)
    return render_page(
        "people.html",
        users=[serialize_user(user) for user in people],
        people_pager=people_pager,
        tokens=[serialize_token(row) for row in programs],
        tokens_pager=tokens_pager,
        owners=owners,
        now=now(),
        settings=catalog.settings,
    )


def _shown(name: str, load: Callable[[Cut], Sequence[Named]]) -> tuple[list[Named], Pager]:
    return show_page(name, SHOWN, load, lambda row: row.name, newest_first=False, of=str)
