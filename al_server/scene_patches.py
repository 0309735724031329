"""The patches of a scene, with their states and scores, as GeoJSON."""

import json
from typing import Any

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

from al_server.context import current_catalog
from al_server.schemas import GEOJSON, Page, SceneId, media
from catalog import scorings
from catalog.records import Patch, Score
from services.scenes import find_scene, source_of, window_of

api = APIBlueprint("scene_patches", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])


@api.get(
    "/<int:scene_id>/patches",
    responses={200: media(GEOJSON, "A FeatureCollection")},
    operation_id="scenes_list_patches__int_scene_id__patches_get",  # clients are generated from it
)
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
    next_page = None
    if len(patches) == query.limit:
        next_page = url_for("scene_patches.list_patches", scene_id=scene.id, after=patches[-1].id, limit=query.limit)
    body = {"type": "FeatureCollection", "features": features, "next": next_page}
    return Response(json.dumps(body), content_type=GEOJSON)
