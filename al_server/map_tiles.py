"""What the map shows of a scene: its views and the maps made of it, as tiles of web maps (XYZ).

Tiles are read from the scene's own files by window, through the same reader as everything else, so that they show what
a model sees: the border, masked flags and missing data included. They are plain XYZ tiles, which QGIS and other
programs can show, too.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from al_server.blindness import may_see_truth
from al_server.context import current_catalog, current_parts, json_response
from al_server.map_schemas import (
    ClassAnswer,
    LayerAnswer,
    LayerTile,
    LayerTileOf,
    MapAnswer,
    ScaleAnswer,
    TileOf,
    VersionChoice,
    ViewAnswer,
    ViewTile,
)
from al_server.scene_reading import read_from_scene, read_from_store, ready_scene, view_of
from al_server.schemas import UNCHANGED, SceneId, media
from catalog.errors import NotFoundError
from catalog.records import Scene
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.composites import inferno_colours
from imagery.grid import Grid
from imagery.ground_metric import pixel_size_m
from imagery.map_views import MapView, draw_classes, draw_share, draw_view, encode_tile, map_views
from imagery.tiles import DEEPEST_ZOOM, TILE_PX, read_map_tile, read_scene_tile, tile_grid
from services.class_scheme import scheme_in_force
from services.map_layers import LayerKind, MapLayer, existing, find_layer, other_layers, predicted_layers
from services.predictions import check_ready
from services.scenes import find_scene, source_of
from services.version_figures import figures_of

api = APIBlueprint("map_tiles", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])

WEBP: Final = "image/webp"
PLACE: Final = "{z}/{x}/{y}.webp"
_FORM: Final = 1  # increase it when the same files give other tiles
_NOTHING: Final = encode_tile(np.zeros((TILE_PX, TILE_PX, 4), dtype=np.uint8))


@dataclass(frozen=True)
class Shown:
    """What can be shown of a scene.

    Attributes:
        scene: The scene.
        grid: Its grid.
        views: Its views that can be drawn.
        layers: The maps made of it that exist.
        scheme: The classes.
    """

    scene: Scene
    grid: Grid
    views: list[MapView]
    layers: list[MapLayer]
    scheme: ClassScheme

    @property
    def deepest_zoom(self) -> int:
        """The zoom from which on a tile shows nothing more."""
        _, south, _, north = self.grid.footprint_wgs84().bounds
        return _deepest_zoom(min(pixel_size_m(self.grid)), (south + north) / 2)


def find_shown(scene_id: int, choice: VersionChoice) -> Shown:
    """Return what can be shown of a scene, with the maps of a version.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: it is not ready.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        scene = find_scene(session, scene_id)
        layers = other_layers(session, scene, truth=may_see_truth(session, scene))
        scheme = scheme_in_force(session, catalog.settings)
    check_ready(scene)
    source = source_of(scene)
    version = shown_version(choice)
    layers = ([] if version is None else predicted_layers(scene, version, catalog.settings)) + layers
    stretch = scene.stretch or {}
    views = [view for view in map_views(source).values() if set(view.stretched) <= set(stretch)]
    return Shown(scene, source.grid, views, existing(current_parts().store, layers), scheme)


@api.get("/<int:scene_id>/map", responses={200: MapAnswer})
def describe_map(path: SceneId, query: VersionChoice) -> Response:
    """Tell which views and maps of a scene can be shown, and where it lies."""
    shown = find_shown(path.scene_id, query)
    base = f"/api/v1/scenes/{shown.scene.id}"
    answer = MapAnswer(
        bounds=shown.grid.footprint_wgs84().bounds,
        deepest_zoom=shown.deepest_zoom,
        views=[
            ViewAnswer(
                name=view.name,
                title=view.title,
                hint=view.hint,
                tiles=f"{base}/tiles/{view.name}/{PLACE}?of={_state(shown.scene, view.name)}",
            )
            for view in shown.views
        ],
        layers=[
            LayerAnswer(
                name=layer.name,
                title=layer.title,
                kind=layer.kind,
                version=layer.version,
                checksum=checksum,
                tiles=f"{base}/maps/{layer.name}/{PLACE}?of={_state(shown.scene, layer.key, checksum)}"
                + (f"&version={layer.version}" if layer.version is not None else ""),
                classes=_classes_of(layer, shown.scheme),
                scale=_scale_of(layer, shown.scheme),
            )
            for layer in shown.layers
            for checksum in [current_parts().store.checksum(layer.key)]
        ],
        classes=[
            ClassAnswer(value=e.value, name=e.name, colour=e.colour)
            for e in shown.scheme.legend
            if e.value in drawn_colours(shown.scheme)
        ],
    )
    return json_response(answer)


@api.get(
    "/<int:scene_id>/tiles/<view>/<int:z>/<int:x>/<int:y>.webp", responses={200: media(WEBP, "A tile"), 304: UNCHANGED}
)
def view_tile(path: ViewTile, query: TileOf) -> Response:
    """Draw a tile of a view of a scene (Web Mercator, 256 px); transparent where the scene has no data."""
    return draw_view_tile(path)


@api.get(
    "/<int:scene_id>/maps/<layer>/<int:z>/<int:x>/<int:y>.webp", responses={200: media(WEBP, "A tile"), 304: UNCHANGED}
)
def layer_tile(path: LayerTile, query: LayerTileOf) -> Response:
    """Draw a tile of a map made of a scene: a prediction, its confidence or uncertainty, or old outlines."""
    return draw_layer_tile(path, query, may_see_truth)


def draw_view_tile(path: ViewTile) -> Response:
    """Answer with a tile of a view, see `view_tile`."""
    scene = ready_scene(path.scene_id)
    view = view_of(scene, path.view)
    tile = tile_grid(path.z, path.x, path.y)
    etag = _state(scene, path.view, path.z, path.x, path.y)
    if etag in request.if_none_match:
        return _answer(None, etag)
    pixels = read_from_scene(source_of(scene), read_scene_tile, view.channels, tile)
    return _answer(None if pixels is None else draw_view(view, pixels, scene.stretch or {}), etag)


def draw_layer_tile(path: LayerTile, choice: VersionChoice, shows_truth: Callable[[Session, Scene], bool]) -> Response:
    """Answer with a tile of a map, see `layer_tile`.

    Args:
        path: The tile.
        choice: The model version.
        shows_truth: Returns whether the outlines that a scene was registered with may be shown.
    """
    catalog, store = current_catalog(), current_parts().store
    with catalog.read() as session:
        scene = find_scene(session, path.scene_id)
        scheme = scheme_in_force(session, catalog.settings)
        found = shown_layer(session, scene, path.layer, choice, truth=shows_truth(session, scene))
    tile = tile_grid(path.z, path.x, path.y)
    etag = _state(scene, found.key, store.checksum(found.key), path.z, path.x, path.y)
    if etag in request.if_none_match:
        return _answer(None, etag)
    missing = math.nan if found.kind is LayerKind.ENTROPY else UNKNOWN
    values = read_from_store(store, found.key, read_map_tile, source_of(scene).grid, tile, missing)
    return _answer(None if values is None else draw_layer(found, values, scheme), etag)


def _classes_of(layer: MapLayer, scheme: ClassScheme) -> list[ClassAnswer]:
    """Return what the values of a map mean, without background; nothing if they are no classes."""
    if layer.kind is not LayerKind.CLASSES:
        return []
    names = scheme.names if layer.version is None else _predicted_names(layer.version, scheme)
    colours = scheme.colours_of(names)
    return [
        ClassAnswer(value=value, name=name, colour=colours[name]) for value, name in enumerate(names) if name in colours
    ]


def _scale_of(layer: MapLayer, scheme: ClassScheme) -> ScaleAnswer | None:
    """Return how `draw_layer` colours the values of a map; None if they are classes."""
    if layer.kind is LayerKind.CLASSES:
        return None
    colours = inferno_colours()
    if layer.kind is LayerKind.ENTROPY:
        return ScaleAnswer(
            quantity="predictive entropy", unit="nats", low=0.0, high=_most_entropy(scheme), colours=colours
        )
    return ScaleAnswer(
        quantity="calibrated probability of the class on the map", unit="%", low=0.0, high=100.0, colours=colours
    )


def _most_entropy(scheme: ClassScheme) -> float:
    """Return the entropy in nats of equal probabilities of all classes."""
    return math.log(len(scheme.names))


def _predicted_names(version: int, scheme: ClassScheme) -> tuple[str, ...]:
    try:
        return figures_of(current_parts().models.get(version)).class_names
    except NotFoundError:  # it was deleted in MLflow; what it made stays a while
        return scheme.names


def shown_layer(session: Session, scene: Scene, name: str, choice: VersionChoice, *, truth: bool) -> MapLayer:
    """Return a map of a scene by the version that is asked for, if any is.

    Args:
        session: A session.
        scene: The scene.
        name: Name of the map.
        choice: The model version.
        truth: Whether the outlines that the scene was registered with may be shown.

    Raises:
        NotFoundError: There is no such map now, or it is by another version: maps of a scoring are of the newest one.
    """
    store, settings = current_parts().store, current_catalog().settings
    found = find_layer(session, store, scene, name, shown_version(choice), settings, truth=truth)
    if choice.version is not None and found.version not in {None, choice.version}:
        raise NotFoundError(
            f"the map {name!r} of scene {scene.id} is by version {found.version} now; "
            "GET .../map names those that exist"
        )
    return found


def shown_version(query: VersionChoice) -> int | None:
    """Return the version that was asked for, else the one that is served; None before the first."""
    if query.version is not None:
        return query.version
    served = current_parts().served.current()
    return None if served is None else served.version.version


def draw_layer(layer: MapLayer, values: NDArray[np.generic], scheme: ClassScheme) -> NDArray[np.uint8]:
    """Draw values of a map of a scene as a picture (h, w, 4), transparent where it shows nothing."""
    if layer.kind is LayerKind.ENTROPY:
        return draw_share(values.astype(np.float32) / _most_entropy(scheme))
    if layer.kind is LayerKind.PERCENT:
        return draw_share(np.where(values == UNKNOWN, np.nan, values.astype(np.float32) / 100.0))
    return draw_classes(values.astype(np.uint8), drawn_colours(scheme))


def drawn_colours(scheme: ClassScheme) -> dict[int, tuple[int, int, int]]:
    """Return the colours of the values that a map shows; background and unknown are transparent."""
    return {entry.value: entry.rgb for entry in scheme.legend if entry.value not in {BACKGROUND, UNKNOWN}}


def _deepest_zoom(pixel_m: float, latitude: float) -> int:
    """Return the zoom from which on a pixel of a tile is no larger than half a pixel of the scene."""
    world_m = 2 * math.pi * 6378137.0 * math.cos(math.radians(latitude)) / TILE_PX
    return max(0, min(DEEPEST_ZOOM, math.ceil(math.log2(world_m / (pixel_m / 2)))))


def _state(scene: Scene, *parts: object) -> str:
    """Return a digest of all that shapes what is drawn of a scene."""
    shaped_by = [_FORM, scene.id, scene.revision, scene.source, scene.stretch, *map(str, parts)]
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()[:24]


def _answer(picture: NDArray[np.uint8] | None, etag: str) -> Response:
    if etag in request.if_none_match:
        response = Response(status=304)
    else:
        response = Response(_NOTHING if picture is None else encode_tile(picture), content_type=WEBP)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, max-age=600"
    return response
