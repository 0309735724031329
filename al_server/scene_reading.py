"""Reading pixels in a request: of scenes that are ready, and of the maps in the store."""

from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from al_server.context import current_catalog, current_parts
from catalog.errors import NotFoundError
from catalog.records import Scene
from imagery.grid import Window
from imagery.map_views import MapView, map_views
from imagery.paths import is_address
from imagery.scene_reader import SceneReader, read_scene
from imagery.scene_source import SceneSource
from imagery.store import RasterStore
from services.predictions import check_ready
from services.scenes import find_scene, source_of
from services.unused_predictions import note_use

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


def ready_scene(scene_id: int) -> Scene:
    """Return a scene that is tiled.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: it is not ready.
    """
    with current_catalog().read() as session:
        scene = find_scene(session, scene_id)
    check_ready(scene)
    return scene


def scene_window(scene_id: int, window: Window) -> tuple[Scene, SceneSource]:
    """Return a scene that is tiled, and how to read a window of it.

    Raises:
        NotFoundError, ConflictError: As `ready_scene`.
        SceneError: the window reaches beyond the scene.
    """
    scene = ready_scene(scene_id)
    source = source_of(scene)
    source.grid.check_inside(window)
    return scene, source


def view_of(scene: Scene, name: str) -> MapView:
    """Return a view of a scene.

    Raises:
        NotFoundError: the scene has no such view.
    """
    views = map_views(source_of(scene))
    if name not in views:
        raise NotFoundError(f"scene {scene.id} has no view {name!r}; its views: {', '.join(views)}")
    return views[name]


def read_from_scene(
    source: SceneSource, function: Callable[[SceneReader, *Arguments], Answer], *arguments: *Arguments
) -> Answer:
    """Call a function with the reader of a scene: one that is still open, or for a scene at an address a helper's.

    Raises:
        SceneError: the scene cannot be read.
        HTTPException: as `al_server.far_reading.FarReader.read`.
    """
    if any(is_address(raster.path) for raster in source.rasters):
        return current_parts().far_reader.read(read_scene, source, function, *arguments)
    with current_parts().scenes.reading(source) as reader:
        return function(reader, *arguments)


def read_channels(source: SceneSource, channels: Sequence[str], window: Window) -> NDArray[np.float32]:
    """Return channels of a window, (C, h, w), NaN where there is no data (`SceneReader.read`).

    Raises:
        SceneError, HTTPException: As `read_from_scene`.
    """
    return read_from_scene(source, SceneReader.read, list(channels), window)


def float_bytes(pixels: NDArray[np.float32]) -> bytes:
    """Return pixels as float32, little-endian, in the order of the array."""
    return np.ascontiguousarray(pixels, dtype="<f4").tobytes()


def read_from_store(
    store: RasterStore, key: str, function: Callable[[str, *Arguments], Answer], *arguments: *Arguments
) -> Answer:
    """Call a function that reads a file of the store with GDAL; its first argument is the file's path or URL.

    Raises:
        StoreError: as `imagery.store.RasterStore.uri`.
        SceneError: as the function.
        HTTPException: as `al_server.far_reading.FarReader.read`.
    """
    note_use(current_catalog(), key)
    if store.is_local:
        return function(store.uri(key), *arguments)
    return current_parts().far_reader.read(function, store.uri(key), *arguments)
