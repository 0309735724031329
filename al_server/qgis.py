"""What QGIS opens: the champion for the plugin Deepness, layers of the running server, and styles."""

import hashlib
import json

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import current_catalog, current_parts
from al_server.scene_reading import read_from_scene, ready_scene
from al_server.schemas import UNCHANGED, SceneId, media
from al_server.version_choice import card_of, chosen_version
from catalog.bundle_cache import ONNX, checksum_tag
from catalog.errors import ServiceDownError
from imagery.channels import bands_needed
from imagery.shown_bands import map_metres_per_pixel, shown_bands
from services.scenes import source_of

api = APIBlueprint("qgis", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="QGIS")])

_FORM = 1  # increase it when the same files give another graph


@api.get(
    "/scenes/<int:scene_id>/qgis/deepness.onnx",
    responses={200: media("application/octet-stream", "ONNX"), 304: UNCHANGED},
)
def deepness_model(path: SceneId) -> Response:
    """Give the champion as the QGIS plugin Deepness opens it, for the files of a scene and others like them."""
    # onnx takes a quarter of a second to import, and few ask for this.
    from services.deepness import deepness_graph, input_bands

    scene = ready_scene(path.scene_id)
    source, version = source_of(scene), chosen_version(None)
    card = card_of(version)
    names = input_bands(card["channels"], source.raster_names)
    bands_needed(card["channels"], source.raster_names)  # refuses a scene that lacks one
    resolution_m = map_metres_per_pixel(source.grid)
    bands = read_from_scene(source, shown_bands, names)
    etag = _etag([_FORM, version.tags.get(checksum_tag(ONNX)), *map(str, bands), source.grid.transform])
    if etag in request.if_none_match:
        response = Response(status=304)
    else:
        graph = current_parts().bundles.held(version, ONNX)
        if graph is None:
            mlflow = current_catalog().settings.mlflow_url
            raise ServiceDownError("MLflow", mlflow, f"the graph of version {version.version} is being fetched from it")
        content = deepness_graph(graph.read_bytes(), card, bands, resolution_m)
        response = Response(content, content_type="application/octet-stream")
        name = f"glacier-v{version.version}-{scene.name}-deepness.onnx"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Model-Version"] = str(version.version)
    return response


def _etag(shaped_by: list[object]) -> str:
    return hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()[:24]
