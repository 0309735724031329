"""Draw the views of a patch that its annotator sees, and store them."""

import logging
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Patch, Scene, Scoring
from imagery.composites import (
    draw_colours,
    encode_png,
    mark_frame,
    mark_region,
    stretch_patch,
    uncertainty_heatmap,
)
from imagery.errors import SceneError, StoreError
from imagery.grid import Grid, Window
from imagery.map_views import HILLSHADE, MapView, hillshade, map_views
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import raster_keys
from services.patch_bands import store_bands
from services.patch_views import SURROUNDINGS, TRUE_COLOUR, UNCERTAINTY, field_of
from services.scenes import source_of, window_of

log = logging.getLogger(__name__)

# Of the views of a map, those that tell ice from what looks like it; the first is the one that is drawn on.
_VIEWS: Final = (TRUE_COLOUR, "false-colour", "colour-infrared", HILLSHADE, "channel-slope")
_SURROUNDINGS_PX: Final = 384
_TIMES_AS_WIDE: Final = 3


@dataclass(frozen=True)
class OutlinedRegion:
    """A part of a patch that is outlined in its views.

    Attributes:
        proposal_id: The proposal that asks for it: several may ask for parts of one patch.
        asked: (h, w), True for the pixels asked for.
    """

    proposal_id: int
    asked: NDArray[np.bool_]


def draw_views(
    store: RasterStore,
    scene: Scene,
    patch: Patch,
    scoring: Scoring | None,
    classes: int,
    outlined: OutlinedRegion | None = None,
    *,
    clicks: bool = False,
) -> dict[str, str]:
    """Store the views of a patch: what the scene's channels allow, the surroundings, and the model's uncertainty.

    Each is stretched by itself (`imagery.composites.stretch_patch`).

    Args:
        store: gets the views, and holds the scoring's maps.
        scene: the scene, tiled.
        patch: one of its patches.
        scoring: the scoring whose entropy is shown; None before the first.
        classes: number K of classes of the scoring's version; the largest entropy, ln K, is drawn lightest.
        outlined: the part that is asked for, outlined in all views; None if that is the whole patch.
        clicks: whether the bands are stored as well, for clicks that mend the pre-annotation.

    Returns:
        Name of each picture by its view (`field_of`); without the uncertainty if no scoring has a map of it.

    Raises:
        SceneError: the scene cannot be read. A map of uncertainty that cannot be read is left out.
    """
    source, window = source_of(scene), window_of(patch)
    possible, stretch = map_views(source), scene.stretch or {}
    part = None if outlined is None else outlined.proposal_id
    ending = raster_keys.part_ending(part)
    views: dict[str, str] = {}
    with SceneReader(source) as reader:
        for view in (possible[name] for name in _VIEWS if name in possible):
            if not set(view.stretched) <= set(stretch):  # the scene was tiled before this view existed
                continue
            picture = _draw(view, reader.read(view.channels, window), stretch)
            if outlined is not None:
                picture = mark_region(picture, outlined.asked)
            views[field_of(view.name)] = f"{view.name}{ending}"
            store.put(raster_keys.view(patch.id, f"{view.name}{ending}"), encode_png(picture))
        picture = _surroundings(reader, possible["false-colour"], window, stretch)
        views[SURROUNDINGS] = SURROUNDINGS
        store.put(raster_keys.view(patch.id, SURROUNDINGS), encode_png(picture))
        if clicks:
            store_bands(store, reader, source, patch.id, window)
    if scoring is not None:
        try:
            entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene.id, "entropy")), window)
        except (SceneError, StoreError) as error:
            log.warning("patch %d is shown without its uncertainty: %s", patch.id, error)
        else:
            views[UNCERTAINTY] = raster_keys.uncertainty_view(scoring.id, part)
            picture = uncertainty_heatmap(entropy, math.log(classes))
            if outlined is not None:
                picture = mark_region(picture, outlined.asked)
            store.put(raster_keys.view(patch.id, views[UNCERTAINTY]), encode_png(picture))
    return views


def _draw(view: MapView, pixels: NDArray[np.float32], stretch: dict[str, tuple[float, float]]) -> NDArray[np.uint8]:
    if view.name == HILLSHADE:
        return draw_colours(hillshade(*pixels)[None])
    return draw_colours(stretch_patch(pixels, [stretch[channel] for channel in view.channels]))


def _surroundings(
    reader: SceneReader, view: MapView, window: Window, stretch: dict[str, tuple[float, float]]
) -> NDArray[np.uint8]:
    """Draw the ground around a patch, with the patch framed."""
    around = surroundings_of(window, reader.source.grid)
    scale = min(1.0, _SURROUNDINGS_PX / max(around.shape))
    height, width = (max(1, round(side * scale)) for side in around.shape)
    picture = _draw(view, reader.read_shaped(view.channels, around, (height, width)), stretch)
    top, left, rows, columns = (
        round(value * scale)
        for value in (window.row_off - around.row_off, window.col_off - around.col_off, window.height, window.width)
    )
    return mark_frame(picture, top, left, rows, columns)


def surroundings_of(window: Window, grid: Grid) -> Window:
    """Return a window around a patch, three times as wide and at least 384 pixels, as far as the scene reaches."""
    sides = []
    for offset, length, whole in (
        (window.row_off, window.height, grid.height),
        (window.col_off, window.width, grid.width),
    ):
        side = min(max(_TIMES_AS_WIDE * length, _SURROUNDINGS_PX), whole)
        sides.append((min(max(0, offset + length // 2 - side // 2), whole - side), side))
    (row, height), (col, width) = sides
    return Window(row, col, height, width)
