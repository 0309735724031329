"""The pixels of a scene for programs that run the network themselves: its input channels by window, and the grid."""

import hashlib
import json
from typing import Final

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import json_response
from al_server.pixel_schemas import MOST_PIXELS, GridAnswer, PixelsQuery
from al_server.scene_reading import float_bytes, read_channels, ready_scene, scene_window
from al_server.schemas import UNCHANGED, SceneId, media
from al_server.version_choice import card_of, chosen_version
from catalog.errors import InvalidInputError
from catalog.records import Scene
from imagery.grid import Window
from imagery.lattice import lattice_of
from services.scenes import source_of

api = APIBlueprint("scene_pixels", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])

FLOATS: Final = "application/octet-stream"


@api.get("/<int:scene_id>/grid", responses={200: GridAnswer})
def describe_grid(path: SceneId) -> Response:
    """Tell where the pixels of a scene lie, in its own CRS and in Web Mercator, and how large they are."""
    grid = source_of(ready_scene(path.scene_id)).grid
    lattice = lattice_of(grid)
    answer = GridAnswer(
        width=grid.width,
        height=grid.height,
        crs=grid.crs,
        transform=grid.transform,
        rows=lattice.rows.tolist(),
        columns=lattice.columns.tolist(),
        mercator=lattice.mercator.round(3).tolist(),
        pixel_m2=lattice.pixel_m2.round(6).tolist(),
    )
    return json_response(answer)


@api.get(
    "/<int:scene_id>/pixels",
    responses={200: media(FLOATS, "float32, little-endian, (C, height, width)"), 304: UNCHANGED},
)
def read_pixels(path: SceneId, query: PixelsQuery) -> Response:
    """Give the input channels of a version for a window, NaN where there is no data.

    The header `X-Pixels` is JSON: `channels`, `shape`, and which channels are `measured`: where one of these is NaN,
    nothing is known of the pixel.
    """
    if query.height * query.width > MOST_PIXELS:
        raise InvalidInputError(
            f"found a window of {query.height} x {query.width} = {query.height * query.width} pixels; expected at most "
            f"{MOST_PIXELS}: ask for parts of it"
        )
    window = query.window
    scene, source = scene_window(path.scene_id, window)
    version = chosen_version(query.version)
    channels = list(card_of(version)["channels"])
    etag = _etag(scene, window, channels)
    if etag in request.if_none_match:
        response = Response(status=304)
    else:
        response = Response(float_bytes(read_channels(source, channels, window)), content_type=FLOATS)
        about = {
            "channels": channels,
            "measured": list(source.measured(channels)),
            "shape": [len(channels), *window.shape],
        }
        response.headers["X-Pixels"] = json.dumps(about)
    response.headers["X-Model-Version"] = str(version.version)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _etag(scene: Scene, window: Window, channels: list[str]) -> str:
    shaped_by = [scene.id, scene.revision, scene.source, str(window), channels]
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()[:24]
