"""Scenes: register, list, patches, and the champion's map."""

import json
from typing import Any

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.answers import job_answer, scene_answer
from al_server.context import answer, catalog, parts
from al_server.schemas import JobAnswer, Page, SceneAccepted, SceneAnswer, SceneId, SceneList, media
from catalog import jobs, scorings
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Patch, SceneState, Score
from services import raster_keys
from services.registration import below, register
from services.scene_removal import remove_scene
from services.scene_request import SceneRequest
from services.scenes import find_scene, registered_scenes, source_of, window_of

api = APIBlueprint("scenes", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])

MEDIA_TYPES = {
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
    "shp.zip": "application/zip",
}


@api.post("", responses={202: SceneAccepted})
def register_scene(body: SceneRequest) -> Response:
    """Register a scene; it is tiled by a job."""
    known = catalog()
    scene, job = register(known, body, below(known.settings.scene_root))
    accepted = SceneAccepted(scene=scene_answer(scene), job=job_answer(job))
    response = answer(accepted, 202)
    response.headers["Location"] = url_for("scenes.get_scene", scene_id=accepted.scene.id)
    return response


@api.get("", responses={200: SceneList})
def list_scenes() -> Response:
    """List all scenes."""
    with catalog().read() as session:
        return answer([scene_answer(scene) for scene in registered_scenes(session)])


@api.get("/<int:scene_id>", responses={200: SceneAnswer})
def get_scene(path: SceneId) -> Response:
    """Describe one scene."""
    with catalog().read() as session:
        return answer(scene_answer(find_scene(session, path.scene_id)))


@api.delete("/<int:scene_id>", responses={200: SceneAnswer})
def delete_scene(path: SceneId) -> Response:
    """Remove a scene on which nothing was labelled; its name and ground are free again, its files are not touched."""
    with catalog().write() as session:
        removed = scene_answer(remove_scene(session, path.scene_id))
    return answer(removed)


@api.get("/<int:scene_id>/patches", responses={200: media(MEDIA_TYPES["geojson"], "A FeatureCollection", text=True)})
def list_patches(path: SceneId, query: Page) -> Response:
    """Give patches as GeoJSON in WGS 84, with their state and the scores of the newest scoring.

    `survey` in the origin of scores is true if one deterministic pass made them, false if all passes did.
    """
    with catalog().read() as session:
        scene = find_scene(session, path.scene_id)
        grid = source_of(scene).grid
        statement = select(Patch).where(Patch.scene_id == scene.id, Patch.id > query.after).order_by(Patch.id)
        patches = list(session.scalars(statement.limit(query.limit)))
        scoring = scorings.newest(session)
        scores: dict[int, dict[str, Any]] = {}
        if scoring is not None and patches:
            origin = {"model_version": scoring.model_version, "passes": scoring.passes, "seed": scoring.seed}
            of_page = (Score.patch_id >= patches[0].id) & (Score.patch_id <= patches[-1].id)
            for score in session.scalars(select(Score).where(Score.scoring_id == scoring.id, of_page)):
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
    following = (
        url_for("scenes.list_patches", scene_id=scene.id, after=patches[-1].id, limit=query.limit) if more else None
    )
    body = {"type": "FeatureCollection", "features": features, "next": following}
    return Response(json.dumps(body), content_type=MEDIA_TYPES["geojson"])


@api.get("/<int:scene_id>/prediction.tif", responses={200: media(MEDIA_TYPES["tif"], "The class map"), 202: JobAnswer})
def prediction_tif(path: SceneId) -> Response:
    """Give the champion's class map as a Cloud Optimized GeoTIFF; 202 while it is being made."""
    return _prediction(path.scene_id, "tif")


@api.get(
    "/<int:scene_id>/prediction.geojson", responses={200: media(MEDIA_TYPES["geojson"], "The outlines"), 202: JobAnswer}
)
def prediction_geojson(path: SceneId) -> Response:
    """Give the champion's outlines, with holes, in WGS 84; 202 while they are being made."""
    return _prediction(path.scene_id, "geojson")


@api.get("/<int:scene_id>/prediction.gpkg", responses={200: media(MEDIA_TYPES["gpkg"], "The outlines"), 202: JobAnswer})
def prediction_gpkg(path: SceneId) -> Response:
    """Give the champion's outlines, with holes, in the scene's own CRS; 202 while they are being made."""
    return _prediction(path.scene_id, "gpkg")


@api.get(
    "/<int:scene_id>/prediction.shp.zip",
    responses={200: media(MEDIA_TYPES["shp.zip"], "The outlines"), 202: JobAnswer},
)
def prediction_shapefile(path: SceneId) -> Response:
    """Give the champion's outlines, with holes, as a zipped shapefile in the scene's own CRS; 202 while it is made."""
    return _prediction(path.scene_id, "shp.zip")


def _prediction(scene_id: int, suffix: str) -> Response:
    with catalog().read() as session:
        scene = find_scene(session, scene_id)
    if scene.state is not SceneState.READY:
        raise ConflictError(f"scene {scene_id} is {scene.state.value}; wait until it is ready")
    champion = parts().registry.champion()
    if champion is None:
        raise ConflictError("no model version has been promoted yet; label a round first")
    store, key = parts().store, raster_keys.prediction(scene_id, champion.version, suffix)
    # The GeoTIFF is written last: once it is there, so are the outlines, but for a format that an earlier release did
    # not write; then the scene is predicted again.
    complete = raster_keys.prediction(scene_id, champion.version, "tif")
    if not (store.exists(complete) and store.exists(key)):
        with catalog().write() as session:
            job = _enqueue_prediction(session, scene_id, champion.version)
        response = answer(job_answer(job), 202)
        response.headers["Location"] = url_for("jobs.get_job", job_id=job.id)
        response.headers["Retry-After"] = "5"
        return response
    response = Response(store.get(key), content_type=MEDIA_TYPES[suffix])
    response.headers["Content-Disposition"] = f'attachment; filename="{scene.name}-v{champion.version}.{suffix}"'
    response.headers["X-Model-Version"] = str(champion.version)
    return response


def _enqueue_prediction(session: Session, scene_id: int, version: int) -> Job:
    key = f"{scene_id}-{version}"
    last = jobs.last_of(session, JobKind.PREDICT_SCENE, key)
    if last is not None and last.state is JobState.FAILED:  # whoever polls must hear of it, not start it again
        raise ConflictError(f"the prediction failed: {last.error}; once that is mended retry the job {last.id}")
    return jobs.enqueue(session, JobKind.PREDICT_SCENE, key, scene_id=scene_id)
