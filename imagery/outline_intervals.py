"""From the intervals of a map's outlines to those of regions, such as glaciers, that the outlines lie in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.area_interval import NOTHING, AreaInterval, add_alike
from imagery.grid import Grid, Window
from imagery.ground_metric import GroundMetric
from imagery.outline_owners import OutlineOwners

_STRIP_ROWS: Final = 256


@dataclass(frozen=True)
class OutlineIntervals:
    """Outlines of a map with the intervals of their areas.

    Attributes:
        polygons: (n,) in the CRS of the map's grid, not overlapping.
        class_names: (n,) the class of each.
        best: (n,) best estimate of its area, km²; NaN where undefined.
        low: (n,) lower end of its 95 % interval; likewise.
        high: (n,) upper end.
    """

    polygons: NDArray[np.object_]
    class_names: NDArray[np.object_]
    best: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class RegionArea:
    """What outlines say of a region.

    Attributes:
        mapped_km2: Their area in it, by pixels.
        interval: The interval of this area; None where that of one of the outlines is undefined.
    """

    mapped_km2: float
    interval: AreaInterval | None

    def of(self, area_km2: float) -> AreaInterval | None:
        """Return the interval for another measure of the same area: the relative errors stay."""
        if area_km2 == 0:
            return NOTHING
        if self.interval is None or self.mapped_km2 == 0:
            return None
        return self.interval.scaled(area_km2 / self.mapped_km2)


class OutlineParts:
    """Which part of each outline lies in which region."""

    def __init__(self, outlines: OutlineIntervals, grid: Grid, numbers_in: Callable[[Window], NDArray[Any]]) -> None:
        """Measure the parts.

        Args:
            outlines: The outlines.
            grid: The grid that they were made from.
            numbers_in: Returns the regions' numbers (h, w) from 1 in a window of the grid, 0 outside all.
        """
        self._outlines = outlines
        owners, metric = OutlineOwners(outlines.polygons, grid), GroundMetric(grid)
        keys: list[NDArray[np.int64]] = []
        areas: list[NDArray[np.float64]] = []
        for top in range(0, grid.height, _STRIP_ROWS):
            window = Window(top, 0, min(_STRIP_ROWS, grid.height - top), grid.width)
            owner = owners.in_rows(top, window.height)
            inside = owner > 0
            rows = np.arange(top + 0.5, top + window.height, dtype=np.float64)
            pixels = np.broadcast_to(metric.pixel_area(rows, np.array([grid.width / 2])), owner.shape)
            pairs = np.stack([owner[inside] - 1, numbers_in(window)[inside]]).astype(np.int64)
            found, place = np.unique(pairs, axis=1, return_inverse=True)
            keys.append(found)
            summed = np.bincount(place.ravel(), pixels[inside], minlength=found.shape[1])
            areas.append(summed.astype(np.float64))
        (outline, region), km2 = np.concatenate(keys, axis=1), np.concatenate(areas) / 1e6
        self._whole_km2 = np.bincount(outline, km2, minlength=len(outlines.polygons))
        order = np.argsort(region, kind="stable")
        self._outline, self._region, self._km2 = outline[order], region[order], km2[order]

    def area(self, region: int | None, class_names: list[str]) -> RegionArea:
        """Return the area of classes together in one region, or in all of them.

        The errors of outlines are taken to go together; that of the part of an outline that lies in the region, to be
        independent of the error of its other parts.

        Args:
            region: Number of the region, from 1; None: all.
            class_names: Names of the classes.
        """
        first, last = np.searchsorted(self._region, [region or 1, region + 1 if region else np.iinfo(np.int64).max])
        outline, km2 = self._outline[first:last], self._km2[first:last]
        chosen = np.isin(self._outlines.class_names[outline], class_names)
        touched, place = np.unique(outline[chosen], return_inverse=True)
        inside = np.bincount(place, km2[chosen], minlength=len(touched))
        ends = np.stack([self._outlines.best, self._outlines.low, self._outlines.high])[:, touched]
        interval = None
        if np.isfinite(ends).all():
            shares = inside / self._whole_km2[touched]
            interval = add_alike(
                [AreaInterval(*end).part(share) for end, share in zip(ends.T.tolist(), shares.tolist(), strict=True)]
            )
        return RegionArea(float(inside.sum()), interval)
