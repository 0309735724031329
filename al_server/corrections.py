"""Corrections that people draw on the map: labels like any other."""

import logging

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from numpy.typing import NDArray

from al_server.auth import actor
from al_server.blindness import may_see_truth
from al_server.context import current_catalog, current_parts, json_response
from al_server.correction_schemas import CorrectionAnswer, CorrectionRequest, ShownMap
from al_server.map_schemas import VersionChoice
from al_server.map_tiles import shown_layer
from al_server.scene_reading import read_from_store
from al_server.schemas import SceneId
from catalog.errors import InvalidInputError, NotFoundError
from catalog.records import Scene
from imagery.classes import BACKGROUND, UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from services import corrections
from services.class_scheme import scheme_in_force
from services.corrections import Correction, Shown, decode_runs
from services.map_layers import LayerKind
from services.scenes import find_scene

log = logging.getLogger(__name__)
api = APIBlueprint("corrections", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])


@api.post("/<int:scene_id>/corrections", responses={200: CorrectionAnswer, 202: CorrectionAnswer})
def submit(path: SceneId, body: CorrectionRequest) -> Response:
    """Submit the classes of a window: 202, its labels follow; 200 if it was submitted before.

    Where a pixel is not judged, earlier labels stand; elsewhere the newest counts.
    """
    catalog = current_catalog()
    window = Window(body.row_off, body.col_off, body.height, body.width)
    with catalog.read() as session:
        scene = find_scene(session, path.scene_id)
        scheme = scheme_in_force(session, catalog.settings)
    corrections.check_may_correct(scene, window)
    classes = decode_runs(body.runs, body.height, body.width, scheme)
    shown, version = shown_map(scene, body.shown, window)
    correction = Correction(
        id=body.id,
        row_off=body.row_off,
        col_off=body.col_off,
        height=body.height,
        width=body.width,
        shown=None if body.shown is None else Shown(layer=body.shown.layer, version=version),
        seconds=body.seconds,
        annotator=actor(),
    )
    events, is_new = corrections.record(catalog, scene, correction, classes, shown)
    answer = CorrectionAnswer(
        id=body.id,
        label_events=[event.id for event in events],
        judged_px=int((classes != UNKNOWN).sum()),
        edited_px=int(((classes != shown) & (classes != UNKNOWN)).sum()),
    )
    return json_response(answer, 202 if is_new else 200)


def shown_map(
    scene: Scene, asked: ShownMap | None, window: Window, *, must_exist: bool = False
) -> tuple[NDArray[np.uint8], int | None]:
    """Return the classes (h, w) of the map that a correction began with, and the version that made it.

    Args:
        scene: The scene.
        asked: The map; None: the correction began with nothing.
        window: The window.
        must_exist: Whether a map that was removed meanwhile is an error, as the sender still has what was drawn. Else
            edits are counted from background: a correction must not be lost with that map.

    Raises:
        NotFoundError: There is no such version, or its map was removed or is to be made anew.
        InvalidInputError: The map holds no classes.
    """
    empty = np.full(window.shape, BACKGROUND, dtype=np.uint8)
    if asked is None:
        return empty, None
    choice = VersionChoice(version=asked.version)
    try:
        with current_catalog().read() as session:
            layer = shown_layer(session, scene, asked.layer, choice, truth=may_see_truth(session, scene))
    except NotFoundError as error:
        if must_exist:
            raise NotFoundError(
                f"the map that was edited is not there to count the edits from: {error}; ask for the prediction first, "
                "or leave out the version"
            ) from error
        log.warning("the edits of a correction are counted from background: %s", error)
        return empty, asked.version
    if layer.kind is not LayerKind.CLASSES:
        raise InvalidInputError(f"the map {layer.name!r} holds no classes; nothing can begin with it")
    return read_from_store(current_parts().store, layer.key, read_map, window).astype(np.uint8), layer.version
