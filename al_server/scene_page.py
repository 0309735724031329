"""The page on which a scene is registered: it shows what was understood before anything is stored."""

from pathlib import Path
from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import render_page
from catalog.records import SceneRole
from services.class_scheme import scheme_in_force

page = Blueprint("scene_page", __name__)
FILES_SHOWN: Final = 200


@page.get("/scenes/add")
def add() -> Response:
    """Return the page; its script asks the API to describe the scene, and to register it."""
    catalog = current_catalog()
    root = Path(catalog.settings.scene_root)
    with catalog.read() as session:
        scheme = scheme_in_force(session, catalog.settings)
    return render_page(
        "scene_add.html",
        root=root,
        files=_files(root),
        roles=list(SceneRole),
        classes=[name for name in scheme.names if name != scheme.background.name],
    )


def _files(root: Path) -> list[str]:
    """Return the names in the scene folder, without hidden ones; empty if there is no such folder."""
    try:
        names = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []
    return names[:FILES_SHOWN]
