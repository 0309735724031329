"""Measuring how much smoothed outlines differ from the mask that they outline."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from imagery.classes import BACKGROUND
from imagery.masks import compose


@dataclass(frozen=True)
class SmoothingError:
    """The error of smoothed outlines.

    Attributes:
        changed_share: Share of the mask's pixels whose class changes if the outlines are rasterised again, 0 to 1.
        area_change: By class value, (smoothed area - area of its pixels) / area of its pixels; NaN if the mask has no
            pixel of the class.
    """

    changed_share: float
    area_change: Mapping[int, float]


def smoothing_error(
    mask: NDArray[np.uint8], outlines: Sequence[tuple[int, Polygon]], values: Collection[int]
) -> SmoothingError:
    """Compare smoothed outlines with their mask.

    Args:
        mask: (H, W) label mask.
        outlines: The result of `imagery.polygons.mask_to_polygons` for the mask and these values.
        values: The class values that were outlined; all others count as background.
    """
    outlined = np.where(np.isin(mask, list(values)), mask, BACKGROUND)
    changed = float((compose(outlines, *mask.shape) != outlined).mean())
    areas = shapely.area(np.array([polygon for _, polygon in outlines], dtype=object))
    owners = np.array([value for value, _ in outlines], dtype=np.int64)
    change = {}
    for value in values:
        pixels = int((mask == value).sum())
        change[value] = float(areas[owners == value].sum()) / pixels - 1 if pixels else float("nan")
    return SmoothingError(changed, change)
