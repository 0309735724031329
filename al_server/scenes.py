"""Scenes: register, list, describe and remove them."""

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import current_catalog, json_response
from al_server.schemas import ListOf, ReplacementAccepted, SceneAccepted, SceneAnswer, SceneId
from al_server.serializers import serialize_job, serialize_scene
from al_server.turns import DESCRIPTIONS
from services.contained_description import describe_contained
from services.registration import check, register
from services.scene_files import BelowRoot, shown_as_named
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, check_replacement, replace
from services.scene_request import ReplacementRequest, SceneRequest
from services.scene_summary import SceneSummary
from services.scenes import find_scene, registered_scenes

api = APIBlueprint("scenes", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])


@api.post("", responses={200: SceneSummary, 202: SceneAccepted})
def register_scene(body: SceneRequest) -> Response:
    """Register a scene; a job tiles it. With `dry_run` the scene is described (200) and not stored."""
    catalog = current_catalog()
    settings = catalog.settings
    root = BelowRoot(settings.scene_root, settings.scene_hosts)
    with DESCRIPTIONS.required("scenes"), shown_as_named(root) as files:
        checked = check(catalog, body, files, describe_contained)
    if body.dry_run:
        return json_response(checked.summary)
    scene, job = register(catalog, checked)
    accepted = SceneAccepted(scene=serialize_scene(scene), job=serialize_job(job))
    response = json_response(accepted, 202)
    response.headers["Location"] = url_for("scenes.get_scene", scene_id=accepted.scene.id)
    return response


@api.put("/<int:scene_id>", responses={200: SceneSummary, 202: ReplacementAccepted})
def replace_scene(path: SceneId, body: ReplacementRequest) -> Response:
    """Replace a scene by a new description of it. With `dry_run` that is described (200) and not stored."""
    catalog = current_catalog()
    settings = catalog.settings
    root = BelowRoot(settings.scene_root, settings.scene_hosts)
    with DESCRIPTIONS.required("scenes"), shown_as_named(root) as files:
        checked = check_replacement(catalog, path.scene_id, body, files, describe_contained)
    if body.dry_run:
        return json_response(checked.new.summary)
    done = replace(catalog, checked, LabelFate(body.labels) if body.labels else None)
    accepted = ReplacementAccepted(
        scene=serialize_scene(done.scene),
        job=serialize_job(done.job),
        labels_kept=done.kept,
        labels_superseded=done.superseded,
        learnt_from=list(done.learnt_from),
    )
    response = json_response(accepted, 202)
    response.headers["Location"] = url_for("scenes.get_scene", scene_id=accepted.scene.id)
    return response


@api.get("", responses={200: ListOf[SceneAnswer]})
def list_scenes() -> Response:
    """List all scenes."""
    with current_catalog().read() as session:
        return json_response([serialize_scene(scene) for scene in registered_scenes(session)])


@api.get("/<int:scene_id>", responses={200: SceneAnswer})
def get_scene(path: SceneId) -> Response:
    """Describe one scene."""
    with current_catalog().read() as session:
        return json_response(serialize_scene(find_scene(session, path.scene_id)))


@api.delete("/<int:scene_id>", responses={200: SceneAnswer})
def delete_scene(path: SceneId) -> Response:
    """Remove a scene without labels. Its name and area can be registered again; its files are not touched."""
    with current_catalog().write() as session:
        removed = serialize_scene(remove_scene(session, path.scene_id))
    return json_response(removed)
