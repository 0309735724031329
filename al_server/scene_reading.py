"""Reading the pixels of a scene in a request: scenes that are ready, and turns for those that lie at an address."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from al_server.context import current_catalog, current_parts
from al_server.turns import TILES
from catalog.errors import NotFoundError
from catalog.records import Scene
from imagery.map_views import MapView, map_views
from imagery.paths import is_address
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services.predictions import check_ready
from services.scenes import find_scene, source_of


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


@contextmanager
def reading(source: SceneSource) -> Iterator[SceneReader]:
    """Open a scene, or take one that is still open; one at an address takes a turn.

    Raises:
        ServiceUnavailable: no turn is free.
        SceneError: the scene cannot be read.
    """
    remote = any(is_address(raster.path) for raster in source.rasters)
    turn = TILES.required("reads of scenes at an address") if remote else nullcontext()
    with turn, current_parts().scenes.reading(source) as reader:
        yield reader
