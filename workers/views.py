"""The pictures of a patch that its annotator sees, drawn once and kept in the store."""

import logging
import math

from catalog.records import Patch, Scene, Scoring
from imagery.composites import composites_for, encode_png, message_tile, render, uncertainty_heatmap
from imagery.errors import SceneError
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import raster_keys
from services.scenes import source_of, window_of

log = logging.getLogger(__name__)


def draw_views(store: RasterStore, scene: Scene, patch: Patch, scoring: Scoring | None, classes: int) -> dict[str, str]:
    """Draw the views of a patch: true colour, false colour and, once the pool is scored, the model's uncertainty.

    Args:
        store: where to draw them, and where the scoring's maps are.
        scene: the scene, tiled.
        patch: one of its patches.
        scoring: whose uncertainty to show; None before the first.
        classes: K, that the scoring's version tells apart: its entropy reaches ln K, which is drawn lightest.

    Returns:
        Field of the Label Studio task's data to name of the picture.

    Raises:
        SceneError: the scene cannot be read. A map of uncertainty that cannot be read is left out.
    """
    source, window = source_of(scene), window_of(patch)
    composites, stretch = composites_for(source.band_names), scene.stretch or {}
    with SceneReader(source) as reader:
        for name, triplet in composites.items():
            picture = render(reader, window, triplet, [tuple(stretch[channel]) for channel in triplet])
            store.put(raster_keys.view(patch.id, name), encode_png(picture))
    uncertainty, picture = "uncertainty-none", message_tile(*window.shape)
    if scoring is not None:
        try:
            entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene.id, "entropy")), window)
        except SceneError as error:
            log.warning("patch %d is shown without its uncertainty: %s", patch.id, error)
        else:
            uncertainty = raster_keys.uncertainty_view(scoring.id)
            picture = uncertainty_heatmap(entropy, math.log(classes))
    store.put(raster_keys.view(patch.id, uncertainty), encode_png(picture))
    return {"true_colour": "true-colour", "false_colour": "false-colour", "uncertainty": uncertainty}
