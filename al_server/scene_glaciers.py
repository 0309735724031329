"""The glaciers on a scene that an inventory or its prior outlines name, as GeoJSON."""

import json
from typing import Final

import shapely
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from shapely.geometry import mapping

from al_server.context import current_catalog
from al_server.scene_reading import ready_scene
from al_server.schemas import GEOJSON, SceneId, media
from imagery.projection import to_wgs84
from services.class_scheme import class_scheme
from services.delivery import delivery_options
from services.known_glaciers import known_glaciers
from services.scenes import source_of

api = APIBlueprint("scene_glaciers", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])

_DECIMALS: Final = 6  # of a degree: a tenth of a metre


@api.get("/<int:scene_id>/glaciers", responses={200: media(GEOJSON, "A FeatureCollection")})
def list_glaciers(path: SceneId) -> Response:
    """Give the polygons of glaciers in WGS 84, with `id` and `name` (null if unknown).

    They are those of the setting `glacier_inventory`, else of the scene's prior outlines, if these have a field with
    ids. Their areas are in `prediction.areas.json`.
    """
    scene = ready_scene(path.scene_id)
    crs = source_of(scene).grid.crs
    catalog = current_catalog()
    features = [
        {
            "type": "Feature",
            "properties": {"id": glacier.name, "name": glacier.title},
            "geometry": mapping(
                shapely.transform(to_wgs84(glacier.polygon, crs), lambda points: points.round(_DECIMALS))
            ),
        }
        for glacier in known_glaciers(scene, delivery_options(catalog.settings), class_scheme(catalog))
    ]
    response = Response(json.dumps({"type": "FeatureCollection", "features": features}), content_type=GEOJSON)
    response.headers["Cache-Control"] = "private, max-age=600"
    return response
