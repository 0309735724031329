"""Layers and styles for QGIS: the tiles of a scene at signed addresses, and the colours of the classes."""

from typing import Final
from urllib.parse import urlencode

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from al_server.blindness import is_truth_public
from al_server.context import current_catalog
from al_server.map_schemas import LayerTile, VersionChoice, ViewTile
from al_server.map_tiles import PLACE, WEBP, draw_layer_tile, draw_view_tile, find_shown
from al_server.schemas import UNCHANGED, SceneId, media
from imagery.qgis_styles import classes_qml, outlines_qml
from services.class_scheme import class_scheme
from services.map_layers import PREDICTION, REFERENCE
from services.qgis_layers import TileLayer, layer_definition
from services.tile_urls import tile_signatures

api = APIBlueprint("qgis_layers", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="QGIS")])

QLR: Final = "application/x-qgis-layer-definition"
QML: Final = "application/x-qgis-layer-settings"


class SignedTile(VersionChoice):
    """Signed token for the tiles of a scene, and a model version."""

    signature: str = Field(max_length=500)


@api.get("/scenes/<int:scene_id>/qgis/layers.qlr", responses={200: media(QLR, "A layer definition", text=True)})
def layers(path: SceneId, query: VersionChoice) -> Response:
    """Give the views and maps of a scene as a layer definition, whose tiles QGIS reads without a token."""
    catalog, shown = current_catalog(), find_shown(path.scene_id, query)
    scene = shown.scene
    with catalog.read() as session:
        shows_truth = is_truth_public(session, scene)
    base = f"{catalog.settings.api_url.rstrip('/')}/api/v1/scenes/{scene.id}/qgis"
    signature = tile_signatures(catalog).sign(scene.id)
    maps = [
        TileLayer(
            layer.title,
            f"{base}/maps/{layer.name}/{PLACE}?{_query(signature, layer.version)}",
            visible=layer.name == PREDICTION,
        )
        for layer in shown.layers
        if layer.name != REFERENCE or shows_truth  # whoever gets the file could read it
    ]
    views = [
        TileLayer(view.title, f"{base}/tiles/{view.name}/{PLACE}?{_query(signature)}", visible=view is shown.views[0])
        for view in shown.views
    ]
    text = layer_definition(scene.name, [*maps, *views], shown.deepest_zoom)
    return _file(text, QLR, f"{scene.name}.qlr", "private, no-store")


@api.get(
    "/scenes/<int:scene_id>/qgis/tiles/<view>/<int:z>/<int:x>/<int:y>.webp",
    responses={200: media(WEBP, "A tile"), 304: UNCHANGED},
)
def view_tile(path: ViewTile, query: SignedTile) -> Response:
    """Draw a tile of a view of a scene; the signature in the URL is the credential."""
    tile_signatures(current_catalog()).check(path.scene_id, query.signature)
    return draw_view_tile(path)


@api.get(
    "/scenes/<int:scene_id>/qgis/maps/<layer>/<int:z>/<int:x>/<int:y>.webp",
    responses={200: media(WEBP, "A tile"), 304: UNCHANGED},
)
def layer_tile(path: LayerTile, query: SignedTile) -> Response:
    """Draw a tile of a map made of a scene; the signature in the URL is the credential."""
    tile_signatures(current_catalog()).check(path.scene_id, query.signature)
    # Whoever has the address may ask, without a role.
    return draw_layer_tile(path, query, is_truth_public)


@api.get("/qgis/outlines.qml", responses={200: media(QML, "A style", text=True)})
def outlines_style() -> Response:
    """Give the style of outlines in the colours of the classes."""
    scheme = class_scheme(current_catalog())
    return _file(outlines_qml(scheme.colours_of(scheme.names)), QML, "outlines.qml")


@api.get("/qgis/classes.qml", responses={200: media(QML, "A style", text=True)})
def classes_style() -> Response:
    """Give the style of class maps in the colours of the classes."""
    return _file(classes_qml(class_scheme(current_catalog()).classes), QML, "classes.qml")


def _query(signature: str, version: int | None = None) -> str:
    chosen = {} if version is None else {"version": version}
    return urlencode({**chosen, "signature": signature})


def _file(text: str, media_type: str, name: str, cache: str = "private, no-cache") -> Response:
    response = Response(text, content_type=f"{media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = cache
    return response
