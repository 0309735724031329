"""Scenes: register, list, describe and remove them."""

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted
from al_server.context import current_catalog, json_response
from al_server.job_schemas import serialize_job
from al_server.paging import cut_of, last_key, page_response
from al_server.scene_schemas import (
    ReplacementAccepted,
    SceneAccepted,
    SceneAnswer,
    SceneRequestAnswer,
    serialize_scene,
    serialize_scene_request,
)
from al_server.schemas import ListOf, LongPage, RequestId, SceneId
from al_server.turns import DESCRIPTIONS
from catalog import scene_requests
from catalog.context import Catalog
from services import remote_scenes
from services.contained_description import describe_contained
from services.registration import check, register
from services.scene_files import BelowRoot, RemoteFileError, shown_as_named
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, check_replacement, replace
from services.scene_request import ReplacementRequest, SceneRequest
from services.scene_summary import SceneSummary
from services.scene_uploads import keep_longer
from services.scenes import find_scene, registered_scenes

api = APIBlueprint("scenes", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])


@api.post("", responses={200: SceneSummary, 202: SceneAccepted})
def register_scene(body: SceneRequest) -> Response:
    """Register a scene; a job tiles it. With `dry_run` the scene is described (200) and not stored.

    If one of its files lies on another machine, a job does either (202), and `request` tells what came of it.
    """
    catalog = current_catalog()
    keep_longer(catalog, body)
    try:
        with DESCRIPTIONS.required("scenes"), shown_as_named(_local_files(catalog)) as files:
            checked = check(catalog, body, files, describe_contained)
    except RemoteFileError:
        return _leave_to_job(catalog, body, None)
    if body.dry_run:
        return json_response(checked.summary)
    scene, job = register(catalog, checked)
    answer = SceneAccepted(scene=serialize_scene(scene), job=serialize_job(job))
    return accepted(answer, url_for("scenes.get_scene", scene_id=scene.id))


@api.put("/<int:scene_id>", responses={200: SceneSummary, 202: ReplacementAccepted})
def replace_scene(path: SceneId, body: ReplacementRequest) -> Response:
    """Replace a scene by a new description of it. With `dry_run` that is described (200) and not stored.

    If one of the new files lies on another machine, a job does either (202), and `request` tells what came of it.
    """
    catalog = current_catalog()
    keep_longer(catalog, body)
    try:
        with DESCRIPTIONS.required("scenes"), shown_as_named(_local_files(catalog)) as files:
            checked = check_replacement(catalog, path.scene_id, body, files, describe_contained)
    except RemoteFileError:
        return _leave_to_job(catalog, body, path.scene_id)
    if body.dry_run:
        return json_response(checked.new.summary)
    done = replace(catalog, checked, LabelFate(body.labels) if body.labels else None)
    answer = ReplacementAccepted(
        scene=serialize_scene(done.scene),
        job=serialize_job(done.job),
        labels_kept=done.kept,
        labels_superseded=done.superseded,
        learnt_from=list(done.learnt_from),
    )
    return accepted(answer, url_for("scenes.get_scene", scene_id=done.scene.id))


@api.get("/requests/<int:request_id>", responses={200: SceneRequestAnswer})
def get_request(path: RequestId) -> Response:
    """Tell what came of a request about a scene on another machine."""
    with current_catalog().read() as session:
        return json_response(serialize_scene_request(scene_requests.find(session, path.request_id)))


@api.get("", responses={200: ListOf[SceneAnswer]})
def list_scenes(query: LongPage) -> Response:
    """List the scenes, in the order in which they were registered.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = registered_scenes(session, cut_of(query))
    answers = [serialize_scene(scene) for scene in found]
    return page_response(answers, query, last_key(found, query, lambda scene: scene.id))


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


def _local_files(catalog: Catalog) -> BelowRoot:
    """Return the files that a request may read; an address is for a job to read, however long that takes."""
    return BelowRoot(catalog.settings.scene_root, catalog.settings.scene_hosts, only_local=True)


def _leave_to_job(catalog: Catalog, body: SceneRequest, replaces: int | None) -> Response:
    stored, job = remote_scenes.ask(catalog, body, replaces)
    kind = SceneAccepted if replaces is None else ReplacementAccepted
    answer = kind(scene=None, job=serialize_job(job), request=serialize_scene_request(stored))
    return accepted(answer, url_for("scenes.get_request", request_id=stored.id))
