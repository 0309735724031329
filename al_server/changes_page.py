"""The pages of changes: those that were asked for, and what one of them found."""

import json
from typing import Any, Final

from flask import Blueprint, Response

from al_server.change_schemas import ChangeAnswer
from al_server.changes import describe_with_files, find_change, read_file, seen_changes
from al_server.context import current_catalog
from al_server.job_schemas import serialize_job
from al_server.page_frame import live_mark, render_page
from al_server.paging import show_page
from catalog.errors import NotFoundError
from catalog.records import SceneState
from services import scene_changes
from services.change_maps import Subject
from services.scene_changes import SceneChange
from services.scenes import day_of, registered_scenes

page = Blueprint("changes_page", __name__)
SHOWN: Final = 50
IN_WORDS: Final = {
    Subject.PREDICTION: "maps of a version",
    Subject.OUTLINES: "the outlines registered with the scenes",
    Subject.PRIORS: "prior outlines with what is there",
}


@page.get("/changes")
def index() -> Response:
    """Return the page with all changes; its script asks for another one by the API."""
    mark = live_mark()
    with current_catalog().read() as session:
        scenes = [scene for scene in registered_scenes(session) if scene.state is SceneState.READY]
        jobs, pager = show_page(
            "all", SHOWN, lambda cut: scene_changes.listed_jobs(session, cut), lambda job: job.id, of=str
        )
        changes = seen_changes(session, jobs)
    by_day = sorted(scenes, key=lambda scene: (str(day_of(scene) or ""), scene.name))
    return render_page(
        "changes.html",
        live=mark,
        scenes=[(scene, day_of(scene)) for scene in by_day],
        changes=[(change, serialize_job(change.job)) for change in changes],
        pager=pager,
        words=IN_WORDS,
    )


@page.get("/changes/<uid>")
def show(uid: str) -> Response:
    """Return the page of a change: its picture, areas at both dates, how they were found, and its files."""
    mark, change = live_mark(), find_change(uid)
    answer = describe_with_files(change)
    return render_page(
        "change.html", live=mark, change=change, answer=answer, found=_summary(change, answer), words=IN_WORDS
    )


def _summary(change: SceneChange, answer: ChangeAnswer) -> dict[str, Any] | None:
    """Return what a change found (`services.change_files.summary`); None until it is done, and once that is removed."""
    if "json" not in answer.files:
        return None
    try:
        found: dict[str, Any] = json.loads(read_file(change, "json"))
    except NotFoundError:
        return None
    return found
