"""Reading the pixels of a scene in a request: scenes that are ready, and turns for those that lie at an address."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
from numpy.typing import NDArray

from al_server.context import current_catalog, current_parts
from al_server.turns import TILES
from catalog.errors import NotFoundError
from catalog.records import Scene
from imagery.grid import Window
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


def read_channels(source: SceneSource, channels: Sequence[str], window: Window) -> NDArray[np.float32]:
    """Return channels of a window, (C, h, w), NaN where there is no data (`SceneReader.read`).

    Raises:
        ServiceUnavailable, SceneError: As `reading`.
    """
    with reading(source) as reader:
        return reader.read(channels, window)


def float_bytes(pixels: NDArray[np.float32]) -> bytes:
    """Return pixels as float32, little-endian, in the order of the array."""
    return np.ascontiguousarray(pixels, dtype="<f4").tobytes()
