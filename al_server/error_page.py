"""The page that shows an error to people. Programs get the JSON of `al_server.problems`."""

import json
from http import HTTPStatus
from typing import Any, Final

from flask import Response, render_template, request, url_for

from al_server.auth import PAGES, prefers_page
from al_server.page_frame import render_page
from al_server.problems import CONTENT_TYPE

_NOT_LOGGED_IN: Final = "You are not logged in, or your log-in has ended."
_NO_PAGE: Final = "There is no page at this address."
_FORMS_ONLY: Final = "This address is only for forms and buttons of our pages."


def show_to_people(response: Response) -> Response:
    """Replace an error response by a page if a browser asked for one of our pages; Flask calls this after every view.

    Status and headers stay. A failure of the server is shown without who is logged in: the database may have failed.
    """
    if response.content_type != CONTENT_TYPE or not _is_for_people():
        return response
    shown = _describe(response)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        page = Response(render_template("error.html", **shown), headers={"Cache-Control": "no-store"})
    else:
        page = render_page("error.html", **shown)
    page.status_code = response.status_code
    kept = [(name, value) for name, value in response.headers if name.lower() not in {"content-type", "content-length"}]
    page.headers.extend(kept)
    return page


def _is_for_people() -> bool:
    """Return whether a browser wants a page: one of ours, or an address that is nothing at all."""
    if request.endpoint is None:
        return prefers_page() and not f"{request.path}/".startswith("/api/")
    return prefers_page() and request.endpoint.partition(".")[0] in PAGES


def _describe(response: Response) -> dict[str, Any]:
    """Return what the template shows: title, reason in plain words, and where to log in, if that may help."""
    status = response.status_code
    told = json.loads(response.get_data())
    reason = told["detail"]
    if status == HTTPStatus.UNAUTHORIZED and request.authorization is None:
        reason = _NOT_LOGGED_IN
    elif status == HTTPStatus.NOT_FOUND and request.endpoint is None:
        reason = _NO_PAGE
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        reason = _FORMS_ONLY
    after = request.full_path.rstrip("?") if request.method == "GET" and status == HTTPStatus.FORBIDDEN else None
    helps = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return {"title": told["title"], "reason": reason, "log_in": url_for("log_in.form", next=after) if helps else None}
