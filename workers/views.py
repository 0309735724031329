"""Draw the views of a patch that its annotator sees, and store them."""

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.records import Patch, Scene, Scoring
from imagery.composites import composites_for, encode_png, mark_region, message_tile, render, uncertainty_heatmap
from imagery.errors import SceneError, StoreError
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import raster_keys
from services.patch_bands import store_bands
from services.scenes import source_of, window_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutlinedRegion:
    """A part of a patch that is outlined in its views.

    Attributes:
        name: Ending of the names of these views, since several proposals may ask for parts of one patch.
        asked: (h, w), True for the pixels asked for.
    """

    name: str
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
    """Store the views of a patch: true colour, false colour and, once the pool is scored, the model's uncertainty.

    Args:
        store: gets the views, and holds the scoring's maps.
        scene: the scene, tiled.
        patch: one of its patches.
        scoring: the scoring whose entropy is shown; None before the first.
        classes: number K of classes of the scoring's version; the largest entropy, ln K, is drawn lightest.
        outlined: the part that is asked for, outlined in the two composites; None if that is the whole patch.
        clicks: whether the bands are stored as well, for clicks that mend the pre-annotation.

    Returns:
        Name of the view by the field of the Label Studio task's data.

    Raises:
        SceneError: the scene cannot be read. A map of uncertainty that cannot be read is left out.
    """
    source, window = source_of(scene), window_of(patch)
    composites, stretch = composites_for(source.band_names), scene.stretch or {}
    ending = "" if outlined is None else f"-{outlined.name}"
    with SceneReader(source) as reader:
        for name, triplet in composites.items():
            picture = render(reader, window, triplet, [tuple(stretch[channel]) for channel in triplet])
            if outlined is not None:
                picture = mark_region(picture, outlined.asked)
            store.put(raster_keys.view(patch.id, f"{name}{ending}"), encode_png(picture))
        if clicks:
            store_bands(store, reader, source, patch.id, window)
    uncertainty, picture = "uncertainty-none", message_tile(*window.shape)
    if scoring is not None:
        try:
            entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene.id, "entropy")), window)
        except (SceneError, StoreError) as error:
            log.warning("patch %d is shown without its uncertainty: %s", patch.id, error)
        else:
            uncertainty = raster_keys.uncertainty_view(scoring.id)
            picture = uncertainty_heatmap(entropy, math.log(classes))
    store.put(raster_keys.view(patch.id, uncertainty), encode_png(picture))
    return {
        "true_colour": f"true-colour{ending}",
        "false_colour": f"false-colour{ending}",
        "uncertainty": uncertainty,
    }
