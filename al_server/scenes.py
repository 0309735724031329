"""Scenes: register, list, describe, remove, their patches and predictions."""

import json
from typing import Any, Final, NamedTuple

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.context import current_catalog, current_parts, json_response
from al_server.schemas import JobAnswer, ListOf, Page, SceneAccepted, SceneAnswer, SceneId, media
from al_server.serializers import serialize_job, serialize_scene
from catalog import jobs, scorings
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneState, Score
from services.delivery import DeliveryOptions, delivery_options, fingerprint, prediction_keys
from services.registration import below, register
from services.scene_removal import remove_scene
from services.scene_request import SceneRequest
from services.scenes import find_scene, registered_scenes, source_of, window_of

api = APIBlueprint("scenes", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])

GEOJSON: Final = "application/geo+json"


class PredictionFormat(NamedTuple):
    """How a prediction is delivered, and how the OpenAPI document describes it."""

    endpoint: str
    media_type: str
    description: str
    summary: str


PREDICTION_FORMATS: Final = {
    "tif": PredictionFormat(
        "prediction_tif",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "The class map",
        "Give the champion's class map as a Cloud Optimized GeoTIFF; 202 while it is being made.",
    ),
    "geojson": PredictionFormat(
        "prediction_geojson",
        GEOJSON,
        "The outlines",
        "Give the champion's outlines, with holes, in WGS 84; 202 while they are being made.",
    ),
    "gpkg": PredictionFormat(
        "prediction_gpkg",
        "application/geopackage+sqlite3",
        "The outlines",
        "Give the champion's outlines, with holes, in the scene's own CRS; 202 while they are being made.",
    ),
    "shp.zip": PredictionFormat(
        "prediction_shapefile",
        "application/zip",
        "The outlines",
        "Give the champion's outlines, with holes, as a zipped shapefile in the scene's own CRS; 202 while it is made.",
    ),
}


@api.post("", responses={202: SceneAccepted})
def register_scene(body: SceneRequest) -> Response:
    """Register a scene; a job tiles it."""
    catalog = current_catalog()
    scene, job = register(catalog, body, below(catalog.settings.scene_root))
    accepted = SceneAccepted(scene=serialize_scene(scene), job=serialize_job(job))
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


@api.get("/<int:scene_id>/patches", responses={200: media(GEOJSON, "A FeatureCollection", text=True)})
def list_patches(path: SceneId, query: Page) -> Response:
    """List patches as GeoJSON in WGS 84, with their state and the scores of the newest scoring.

    `survey` in the origin of scores is true if one deterministic pass made them, false if all passes did.
    """
    with current_catalog().read() as session:
        scene = find_scene(session, path.scene_id)
        grid = source_of(scene).grid
        statement = select(Patch).where(Patch.scene_id == scene.id, Patch.id > query.after).order_by(Patch.id)
        patches = list(session.scalars(statement.limit(query.limit)))
        scoring = scorings.newest(session)
        scores: dict[int, dict[str, Any]] = {}
        if scoring is not None and patches:
            origin = {"model_version": scoring.model_version, "passes": scoring.passes, "seed": scoring.seed}
            on_page = (Score.patch_id >= patches[0].id) & (Score.patch_id <= patches[-1].id)
            for score in session.scalars(select(Score).where(Score.scoring_id == scoring.id, on_page)):
                of_patch = scores.setdefault(score.patch_id, {"origin": {**origin, "survey": score.screening}})
                of_patch[score.measure] = score.value
    features = [
        {
            "type": "Feature",
            "id": patch.id,
            "geometry": grid.footprint_wgs84(window_of(patch)).__geo_interface__,
            "properties": {
                "scene": scene.name,
                "row_off": patch.row_off,
                "col_off": patch.col_off,
                "size_px": patch.size_px,
                "valid_share": patch.valid_share,
                "state": patch.state.value,
                "scores": scores.get(patch.id),
            },
        }
        for patch in patches
    ]
    more = len(patches) == query.limit
    next_page = (
        url_for("scenes.list_patches", scene_id=scene.id, after=patches[-1].id, limit=query.limit) if more else None
    )
    body = {"type": "FeatureCollection", "features": features, "next": next_page}
    return Response(json.dumps(body), content_type=GEOJSON)


def _add_prediction(suffix: str) -> None:
    """Register the view of one format of predictions."""
    form = PREDICTION_FORMATS[suffix]

    def view(path: SceneId) -> Response:
        return prediction(path.scene_id, suffix)

    view.__name__, view.__doc__ = form.endpoint, form.summary
    responses: ResponseDict = {200: media(form.media_type, form.description), 202: JobAnswer}
    api.get(f"/<int:scene_id>/prediction.{suffix}", responses=responses)(view)


for _suffix in PREDICTION_FORMATS:
    _add_prediction(_suffix)


def prediction(scene_id: int, suffix: str) -> Response:
    """Return a file of the scene as the champion predicts it; 202 with the job while the file is being made.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: the scene is not ready, there is no champion, or the prediction failed.
        ServiceDownError: MLflow does not answer.
    """
    with current_catalog().read() as session:
        scene = find_scene(session, scene_id)
    if scene.state is not SceneState.READY:
        raise ConflictError(f"scene {scene_id} is {scene.state.value}; wait until it is ready")
    champion = current_parts().registry.champion()
    if champion is None:
        raise ConflictError("no model version has been promoted yet; label a round first")
    options = delivery_options(current_catalog().settings)
    store, keys = current_parts().store, prediction_keys(scene, champion.version, options)
    # The GeoTIFF is written last: once it is there, so are the outlines, but for a format that an earlier release did
    # not write; then the scene is predicted again.
    if not (store.exists(keys["tif"]) and store.exists(keys[suffix])):
        with current_catalog().write() as session:
            job = _enqueue_prediction(session, scene, champion.version, options)
        response = json_response(serialize_job(job), 202)
        response.headers["Location"] = url_for("jobs.get_job", job_id=job.id)
        response.headers["Retry-After"] = "5"
        return response
    response = Response(store.get(keys[suffix]), content_type=PREDICTION_FORMATS[suffix].media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{scene.name}-v{champion.version}.{suffix}"'
    response.headers["X-Model-Version"] = str(champion.version)
    return response


def _enqueue_prediction(session: Session, scene: Scene, version: int, options: DeliveryOptions) -> Job:
    """Enqueue the prediction of a scene unless it is under way; one that failed is only repeated by a retry."""
    key = f"{scene.id}-{version}-{fingerprint(scene, options)}"
    last = jobs.last_of(session, JobKind.PREDICT_SCENE, key)
    # A client that polls must not start again what failed or what a person cancelled.
    if last is not None and last.state is JobState.FAILED:
        raise ConflictError(f"the prediction failed: {last.error}; once that is mended retry the job {last.id}")
    if last is not None and last.state is JobState.CANCELLED:
        raise ConflictError(f"the prediction was cancelled; to have it made after all retry the job {last.id}")
    return jobs.enqueue(
        session, JobKind.PREDICT_SCENE, key, scene_id=scene.id, delivery=options.model_dump(mode="json")
    )
