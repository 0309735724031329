"""Windows of a scene on its own grid, pixel by pixel: its views, maps and bands, and superpixels.

What is corrected on the map is drawn on these, so that nothing is resampled between a person and a label.
"""

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from numpy.typing import NDArray

from al_server.blindness import may_see_truth
from al_server.context import current_catalog, current_parts, json_response
from al_server.correction_schemas import (
    LARGEST_BANDS,
    LayerWindow,
    PlaceQuery,
    SuperpixelQuery,
    WindowAnswer,
    WindowQuery,
)
from al_server.map_schemas import LayerPath, ViewPath
from al_server.map_tiles import WEBP, draw_layer, shown_layer
from al_server.scene_reading import float_bytes, read_channels, read_from_store, ready_scene, scene_window, view_of
from al_server.schemas import SceneId, media
from catalog.errors import InvalidInputError
from imagery.map_views import draw_view, encode_tile
from imagery.maps import read_map
from imagery.superpixels import superpixels
from services.class_scheme import class_scheme
from services.map_layers import LayerKind, MapLayer
from services.scenes import source_of

api = APIBlueprint("scene_windows", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])

RAW = "application/octet-stream"


@api.get("/<int:scene_id>/window", responses={200: WindowAnswer})
def find_window(path: SceneId, query: PlaceQuery) -> Response:
    """Find the window of a scene that holds a box on the ground, as far as it lies in the scene."""
    scene = ready_scene(path.scene_id)
    grid = source_of(scene).grid
    window = grid.window_in_box(query.west, query.south, query.east, query.north)
    if window is None:
        raise InvalidInputError(f"found a box beside scene {scene.name!r}; choose one that lies over it")
    answer = WindowAnswer(
        row_off=window.row_off,
        col_off=window.col_off,
        height=window.height,
        width=window.width,
        scene_height=grid.height,
        scene_width=grid.width,
    )
    return json_response(answer)


@api.get("/<int:scene_id>/tiles/<view>/window", responses={200: media(WEBP, "The view of the window")})
def view_window(path: ViewPath, query: WindowQuery) -> Response:
    """Draw a window of a view, one pixel for each of the scene; transparent where the scene has no data."""
    scene, source = scene_window(path.scene_id, query.window)
    view = view_of(scene, path.view)
    pixels = read_channels(source, view.channels, query.window)
    return _answer(encode_tile(draw_view(view, pixels, scene.stretch or {})), WEBP)


@api.get("/<int:scene_id>/maps/<layer>/window", responses={200: media(RAW, "One byte a pixel, row by row")})
def map_window(path: LayerPath, query: LayerWindow) -> Response:
    """Return the class values of a window of a map, one byte a pixel, row by row; 255 where there is no data."""
    layer = _layer(path, query)
    if layer.kind is not LayerKind.CLASSES:
        raise InvalidInputError(f"the map {layer.name!r} holds no classes; expected prediction, learner or prior")
    values = read_from_store(current_parts().store, layer.key, read_map, query.window)
    return _answer(values.astype(np.uint8).tobytes(), RAW)


@api.get("/<int:scene_id>/maps/<layer>/window.webp", responses={200: media(WEBP, "The map of the window")})
def window_picture(path: LayerPath, query: LayerWindow) -> Response:
    """Draw a window of a map, one pixel for each of the scene; transparent where it shows background or nothing."""
    layer = _layer(path, query)
    values = read_from_store(current_parts().store, layer.key, read_map, query.window)
    return _answer(encode_tile(draw_layer(layer, values, class_scheme(current_catalog()))), WEBP)


def _layer(path: LayerPath, query: LayerWindow) -> MapLayer:
    """Return the map that is asked for, of a window that lies in the scene."""
    scene, _ = scene_window(path.scene_id, query.window)
    with current_catalog().read() as session:
        return shown_layer(session, scene, path.layer, query, truth=may_see_truth(session, scene))


@api.get("/<int:scene_id>/bands/window", responses={200: media(RAW, "float32, little-endian, (C, h, w)")})
def band_window(path: SceneId, query: WindowQuery) -> Response:
    """Return the bands of a window as float32, little-endian, band by band and row by row; NaN: no data."""
    return _answer(float_bytes(_bands(path, query, "bands")), RAW)


@api.get("/<int:scene_id>/superpixels", responses={200: media(RAW, "int32, little-endian, row by row")})
def superpixel_window(path: SceneId, query: SuperpixelQuery) -> Response:
    """Cut a window into superpixels: their numbers from 1 as int32, little-endian, row by row; 0: no data."""
    found = superpixels(_bands(path, query, "superpixels"), query.side_px)
    return _answer(found.astype("<i4").tobytes(), RAW)


def _bands(path: SceneId, query: WindowQuery, purpose: str) -> NDArray[np.float32]:
    """Return all bands of a window that may be as large as bands and superpixels need, (C, h, w)."""
    _, source = scene_window(path.scene_id, query.window)
    if max(query.window.shape) > LARGEST_BANDS:
        raise InvalidInputError(f"found {query.window}; expected at most {LARGEST_BANDS} pixels a side for {purpose}")
    measured = [source.band_names[position] for position in source.measured(source.band_names)]
    return read_channels(source, measured, query.window)


def _answer(content: bytes, kind: str) -> Response:
    response = Response(content, content_type=kind)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
