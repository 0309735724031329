"""The page on which a scene is registered: it shows what was understood before anything is stored."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import render_page
from catalog.context import Catalog
from catalog.records import SceneRole
from services.class_scheme import scheme_in_force
from services.scene_uploads import FOLDER, uploaded_folders

page = Blueprint("scene_page", __name__)
FILES_SHOWN: Final = 200


@page.get("/scenes/add")
def add() -> Response:
    """Return the page; its script asks the API to describe the scene, and to register it."""
    catalog = current_catalog()
    with catalog.read() as session:
        scheme = scheme_in_force(session, catalog.settings)
    return render_page(
        "scene_add.html",
        root=catalog.settings.scene_root,
        files=_files(catalog),
        keep_days=catalog.settings.scene_upload_keep_days,
        roles=list(SceneRole),
        classes=[name for name in scheme.names if name != scheme.background.name],
    )


def _files(catalog: Catalog) -> list[str]:
    """Return the names in the scene folder, without hidden ones, and the folders that people have sent."""
    try:
        found = sorted(entry.name for entry in catalog.settings.scene_root.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []
    sent = [f"{FOLDER}/{folder.name}" for folder in uploaded_folders(catalog)]
    return [*sent, *(name for name in found if name != FOLDER or not sent)][:FILES_SHOWN]
