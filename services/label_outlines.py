"""What people drew on a patch, as outlines for the map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.records import Label
from imagery.classes import UNKNOWN, ClassScheme
from imagery.grid import Grid
from imagery.outline_table import densified_wgs84
from imagery.polygons import mask_to_polygons, to_map_coordinates
from services.composed_labels import compose_labels
from services.scenes import window_of


@dataclass(frozen=True)
class LabelledOutlines:
    """The standing labels of a patch.

    Attributes:
        patch_id: The patch.
        labels: Ids of the labels.
        annotated_at: When the newest was drawn.
        simulated: Whether a simulated annotator drew one of them.
        outlines: Name of the class and polygon in WGS 84, background included. Where nobody judged there are none.
    """

    patch_id: int
    labels: list[int]
    annotated_at: datetime
    simulated: bool
    outlines: list[tuple[str, Any]]


def outline_labels(
    labels: Sequence[Label], grid: Grid, scheme: ClassScheme, read_mask: Callable[[Label], NDArray[np.uint8]]
) -> LabelledOutlines:
    """Return the outlines of the labels of one patch together: where they overlap, the uppermost counts.

    Args:
        labels: At least one, each with its proposal and its patch loaded.
        grid: The scene's grid.
        scheme: The classes of the labels.
        read_mask: Returns the mask of a label, (size, size) class values.

    Raises:
        StoreError, SceneError, OutlineError: As ``read_mask``.
    """
    patch = labels[0].patch
    mask = compose_labels(labels, read_mask, patch.size_px, UNKNOWN)
    found = mask_to_polygons(mask, range(len(scheme.classes)))
    part = grid.subgrid(window_of(patch))
    polygons = np.empty(len(found), dtype=object)
    polygons[:] = [polygon for _, polygon in found]
    wgs84 = densified_wgs84(to_map_coordinates(polygons, part), part)
    return LabelledOutlines(
        patch.id,
        [label.id for label in labels],
        max(label.annotated_at for label in labels),
        any(label.simulated for label in labels),
        [(scheme.names[value], outline) for (value, _), outline in zip(found, wgs84, strict=True)],
    )
