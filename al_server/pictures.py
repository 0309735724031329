"""Pictures of windows of scenes for our pages: their addresses, as far as they can be drawn at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from flask import url_for

from al_server.context import current_catalog, current_parts
from catalog.records import Scene
from imagery.grid import Window
from imagery.map_views import map_views
from imagery.paths import is_address
from services.map_layers import MapLayer, existing, predicted_layers
from services.scenes import source_of

SHOWN_FIRST: Final = ("true-colour", "false-colour", "colour-infrared", "hillshade")


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    Attributes:
        title: What people read above it.
        hint: What its colours mean, if there is more to say.
        address: Where the browser finds it.
    """

    title: str
    hint: str
    address: str


def view_pictures(scene: Scene, window: Window, names: Iterable[str] = SHOWN_FIRST) -> list[Picture]:
    """Return pictures of a window of a scene, of those views that it allows.

    None of a scene at an address: a server reads only two of them at a time, and a page asks for all its pictures.
    """
    source, stretch = source_of(scene), scene.stretch or {}
    if any(is_address(raster.path) for raster in source.rasters):
        return []
    views = map_views(source)
    possible = [views[name] for name in names if name in views and set(views[name].stretched) <= set(stretch)]
    return [
        Picture(
            view.title,
            view.hint or "",
            url_for("scene_windows.view_window", scene_id=scene.id, view=view.name, **vars(window)),
        )
        for view in possible
    ]


def layer_picture(scene: Scene, layer: MapLayer, window: Window) -> Picture:
    """Return a picture of a window of a map that exists."""
    address = url_for(
        "scene_windows.window_picture", scene_id=scene.id, layer=layer.name, version=layer.version, **vars(window)
    )
    return Picture(layer.title, "", address)


def predicted(scene: Scene, versions: Iterable[int]) -> dict[int, MapLayer]:
    """Return the map of a scene by each of these versions that has one."""
    settings, store = current_catalog().settings, current_parts().store
    layers = [predicted_layers(scene, version, settings)[0] for version in versions]
    return {layer.version: layer for layer in existing(store, layers) if layer.version is not None}
