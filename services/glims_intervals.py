"""The intervals of the areas of outlines for GLIMS, from those that were delivered with the prediction."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagery.area_interval import AreaInterval
from imagery.glims import ClassMapping, LineType
from imagery.glims_outlines import GlacierOutlines
from imagery.grid import Grid
from imagery.outline_intervals import OutlineIntervals, OutlineParts
from imagery.outline_owners import OutlineOwners
from imagery.polygons import to_map_coordinates

Intervals = Sequence[AreaInterval | None]
"""One for each outline; None where undefined."""


def glims_intervals(
    predicted: OutlineIntervals | None,
    mapping: ClassMapping,
    outlines: GlacierOutlines,
    expert_share: NDArray[np.float64],
    grid: Grid,
) -> tuple[Intervals, Intervals]:
    """Return the intervals of glaciers and, of what lies on them, those of debris.

    They are undefined on glaciers of which experts judged a part: the intervals are those of the model's errors.

    Args:
        predicted: The outlines delivered with the prediction; None without one.
        mapping: Line types of the classes.
        outlines: The outlines for GLIMS.
        expert_share: (n,) share of each glacier's pixels that experts judged.
        grid: The scene's grid.
    """
    if predicted is None:
        return [None] * len(outlines.wgs84), [None] * len(outlines.others)
    ice = [name for name, kind in mapping.line_types.items() if kind not in {None, LineType.PROGLACIAL_LAKE}]
    debris = [name for name, kind in mapping.line_types.items() if kind is LineType.DEBRIS]
    on_glaciers = OutlineParts(predicted, grid, lambda window: outlines.owner[window.slices])
    glaciers = [
        on_glaciers.area(number, ice).of(float(area)) if share == 0 else None
        for number, (area, share) in enumerate(zip(outlines.area_km2, expert_share, strict=True), start=1)
    ]
    pixels = np.empty(len(outlines.others), dtype=object)
    pixels[:] = [item.pixels for item in outlines.others]
    owners = OutlineOwners(to_map_coordinates(pixels, grid), grid)
    in_others = OutlineParts(predicted, grid, lambda window: owners.in_rows(window.row_off, window.height))
    others = [
        in_others.area(number, debris).of(item.area_km2)
        if item.line_type is LineType.DEBRIS and item.glacier is not None and expert_share[item.glacier] == 0
        else None
        for number, item in enumerate(outlines.others, start=1)
    ]
    return glaciers, others
