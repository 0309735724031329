"""Reading pixels in a request: of scenes that are ready, and of the maps in the store."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from al_server.context import current_catalog, current_parts
from catalog.errors import NotFoundError
from catalog.records import Scene
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
    """Open a scene and call a function with its reader; of a scene at an address, in a helper process.

    Raises:
        SceneError: the scene cannot be read.
        HTTPException: as `al_server.far_reading.FarReader.read`.
    """
    if any(is_address(raster.path) for raster in source.rasters):
        return current_parts().far_reader.read(read_scene, source, function, *arguments)
    return read_scene(source, function, *arguments)


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
