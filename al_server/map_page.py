"""The page with the map."""

from flask import Blueprint, Response

from al_server.page_frame import live_mark, render_page

page = Blueprint("map_page", __name__)


@page.get("/map")
def show() -> Response:
    """Return the page; its script asks the API for everything that it shows."""
    return render_page("map.html", live=live_mark())
