"""Pre-annotations: what the champion sees in a patch, as regions that an annotator can correct."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catalog.records import SceneRole
from imagery.classes import ClassScheme
from imagery.masks import despeckle
from imagery.polygons import mask_to_polygons, split_holes
from labeling.regions import encode_brush, encode_polygon
from services.version_figures import VersionFigures

# Smaller specks are noise to the eye, each one a click for the annotator, and megabytes to Label Studio.
SMALLEST_REGION_PX = 8


def is_useful(champion: VersionFigures) -> bool:
    """Tell whether the champion's masks are a better start for an annotator than empty ones.

    Early models often are not: then correcting them takes longer than drawing. Decided by the figures of the validation
    region.
    """
    validation = champion.regions.get(SceneRole.VALIDATION.value)
    if validation is None or validation.mean_iou is None or validation.empty_mask_mean_iou is None:
        return False
    return validation.mean_iou > validation.empty_mask_mean_iou


def drawable(class_names: Sequence[str], scheme: ClassScheme) -> Mapping[int, str]:
    """Return the labels by their values in a version's maps that its pre-annotations are drawn with.

    Args:
        class_names: Names of the classes that the version tells apart.
        scheme: The classes that annotators draw.

    Returns:
        The foreground classes; nothing if the version tells others apart than those to draw. A binary head does, unless
        there is a single foreground class: foreground could be any of several.
    """
    return dict(enumerate(class_names[1:], start=1)) if tuple(class_names) == scheme.names else {}


def clean(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Remove specks from a predicted class map (h, w); this is what the annotator is shown."""
    return despeckle(classes, SMALLEST_REGION_PX)


def regions(
    shown: NDArray[np.uint8], form: Literal["brush", "polygon", "none"], labels: Mapping[int, str]
) -> Sequence[dict[str, Any]]:
    """Turn a class map (h, w) into Label Studio regions, of the values that have a label.

    Brush gives one region a class. Polygon gives one a connected area; areas with holes are cut through them, since
    Label Studio's polygons have none.
    """
    height, width = shown.shape
    if form == "brush":
        present = [(value, name) for value, name in labels.items() if (shown == value).any()]
        return [encode_brush(shown == value, name, f"pre-{value}") for value, name in present]
    if form == "none":
        return []
    pieces = [
        (labels[value], piece) for value, area in mask_to_polygons(shown, list(labels)) for piece in split_holes(area)
    ]
    return [
        encode_polygon(np.asarray(piece.exterior.coords)[:-1], name, height, width, f"pre-{number}")
        for number, (name, piece) in enumerate(pieces)
    ]
