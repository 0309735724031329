"""Pre-annotations: what the champion sees in a patch, as regions that an annotator can correct."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catalog.records import SceneRole
from imagery.classes import ANNOTATED, UNKNOWN
from imagery.masks import despeckle
from imagery.polygons import mask_to_polygons, split_holes
from labeling.regions import encode_brush, encode_polygon
from services.version_figures import VersionFigures

# Smaller specks are noise to the eye, each one a click for the annotator, and megabytes to Label Studio.
SMALLEST_REGION_PX = 8
PREANNOTATED = tuple(item for item in ANNOTATED if item is not UNKNOWN)


def is_useful(champion: VersionFigures) -> bool:
    """Tell whether the champion's masks are a better start for an annotator than empty ones.

    Early models often are not: then correcting them takes longer than drawing. Decided by the figures of the validation
    region.
    """
    validation = champion.regions.get(SceneRole.VALIDATION.value)
    if validation is None or validation.mean_iou is None or validation.empty_mask_mean_iou is None:
        return False
    return validation.mean_iou > validation.empty_mask_mean_iou


def clean(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Remove specks from a predicted class map (h, w); this is what the annotator is shown."""
    return despeckle(classes, SMALLEST_REGION_PX)


def regions(shown: NDArray[np.uint8], form: Literal["brush", "polygon", "none"]) -> Sequence[dict[str, Any]]:
    """Turn a class map (h, w) into Label Studio regions.

    Brush gives one region a class. Polygon gives one a connected area; areas with holes are cut through them, since
    Label Studio's polygons have none.
    """
    height, width = shown.shape
    if form == "brush":
        present = [item for item in PREANNOTATED if (shown == item.value).any()]
        return [encode_brush(shown == item.value, item.name, f"pre-{item.value}") for item in present]
    if form == "none":
        return []
    names = {item.value: item.name for item in PREANNOTATED}
    pieces = [
        (names[value], piece) for value, area in mask_to_polygons(shown, list(names)) for piece in split_holes(area)
    ]
    return [
        encode_polygon(np.asarray(piece.exterior.coords)[:-1], name, height, width, f"pre-{number}")
        for number, (name, piece) in enumerate(pieces)
    ]
