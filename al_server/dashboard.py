"""The dashboard: is the system healthy, is it learning, what does it do now, and what should a person do next?

The page is made of sections, each a template of its own. The page's script asks for a section again when
``/api/v1/live`` names one of its topics; without the script the page is as it was when it was loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, abort

from al_server import dashboard_sections as sections
from al_server.page_frame import live_mark, render_page
from al_server.paging import kept_places
from services.durations import in_words
from services.live_state import Topic

page = Blueprint("dashboard", __name__)
page.add_app_template_filter(in_words)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        topics: What it shows, as ``/api/v1/live`` names it.
        load: Returns what its template shows.
    """

    topics: tuple[Topic, ...]
    load: Callable[[], Mapping[str, Any]]


SECTIONS: Final = {
    "now": Section(tuple(Topic), sections.now),
    "work": Section((Topic.JOBS, Topic.TROUBLE), sections.work),
    "rounds": Section((Topic.ROUNDS, Topic.LABELS), sections.rounds),
    "versions": Section((Topic.MODELS, Topic.TROUBLE), sections.versions),
    "worth": Section((Topic.MODELS, Topic.LABELS, Topic.ROUNDS), sections.worth),
    "labels": Section((Topic.LABELS, Topic.TROUBLE), sections.labels),
    "scenes": Section((Topic.SCENES,), sections.scenes),
    "backup": Section((Topic.JOBS,), sections.backup),
    "trouble": Section((Topic.JOBS, Topic.TROUBLE), sections.trouble),
}


@page.get("/")
def index() -> Response:
    """Return the page."""
    shown: dict[str, Any] = {"live": live_mark(), "places_in_lists": urlencode(kept_places())}  # first
    for section in SECTIONS.values():
        shown |= section.load()
    return render_page("dashboard.html", sections=SECTIONS, **shown)


@page.get("/dashboard/<name>")
def show_section(name: str) -> Response:
    """Return one section, to replace what the page shows of it."""
    if name not in SECTIONS:
        abort(404, f"found no section {name!r}, expected one of {', '.join(SECTIONS)}")
    return render_page(f"dashboard/{name}.html", **SECTIONS[name].load())
