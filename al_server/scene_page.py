"""The pages on which a scene is registered or replaced: they show what was understood before anything is stored."""

from typing import Any, Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import render_page
from al_server.scene_schemas import serialize_scene
from catalog.context import Catalog
from catalog.records import SceneRole
from catalog.settings import Settings
from catalog.settings_guide import form
from imagery.sensors import SENSORS
from imagery.units import Level
from services.class_scheme import scheme_in_force
from services.scene_prefill import prefill
from services.scene_replacement import drawn_labels
from services.scene_uploads import ENDINGS, FOLDER, OUTLINE_ENDINGS, uploaded_folders
from services.scenes import find_scene

page = Blueprint("scene_page", __name__)
FILES_SHOWN: Final = 200


@page.get("/scenes/add")
def add() -> Response:
    """Return the page; its script asks the API to describe the scene, and to register it."""
    return _render_form()


@page.get("/scenes/<int:scene_id>/replace")
def replace(scene_id: int) -> Response:
    """Return the same form with what is known of a scene; its script asks the API to replace the scene."""
    catalog = current_catalog()
    with catalog.read() as session:
        scene = find_scene(session, scene_id)
        known = prefill(scene, catalog.settings)
        described, labels = serialize_scene(scene), drawn_labels(session, scene)
    return _render_form(scene=described, labels=labels, known=known.request, left_out=known.left_out)


def _render_form(**of_scene: Any) -> Response:
    """Return the form; `of_scene` is shown of a scene that is replaced."""
    catalog = current_catalog()
    with catalog.read() as session:
        scheme = scheme_in_force(session, catalog.settings)
    return render_page(
        "scene_form.html",
        root=catalog.settings.scene_root,
        files=_files(catalog),
        endings=ENDINGS,
        outline_endings=",".join(OUTLINE_ENDINGS),
        keep_days=catalog.settings.scene_upload_keep_days,
        settings=catalog.settings,
        roles=list(SceneRole),
        sensors=sorted(SENSORS),
        levels=list(Level),
        flags=form(Settings, "masked_flags").choices,
        classes=[name for name in scheme.names if name != scheme.background.name],
        **of_scene,
    )


def _files(catalog: Catalog) -> list[str]:
    """Return the names in the scene folder, without hidden ones, and the folders that people have sent."""
    try:
        found = sorted(entry.name for entry in catalog.settings.scene_root.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []
    sent = [f"{FOLDER}/{folder.name}" for folder in uploaded_folders(catalog)]
    return [*sent, *(name for name in found if name != FOLDER or not sent)][:FILES_SHOWN]
