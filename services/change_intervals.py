"""The calibrated intervals of the areas of a predicted map, for the glaciers of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from imagery.area_interval import AreaInterval
from imagery.change import AreaChange, ErrorMethod
from imagery.grid import Grid, Window
from imagery.outline_intervals import OutlineParts, RegionArea
from services.area_report import Area
from services.delivered_areas import DeliveredAreas

_OTHER_POLYGON: Final = 1.02  # more mapped ground than the report has in a glacier: its polygon was another one


@dataclass(frozen=True)
class Ground:
    """What an area is of.

    Attributes:
        number: The glacier's number on the common grid; None: all glaciers.
        glacier: Its id, or the number of a connected patch.
        name: Name of the classes in the report: of one class, or of all together.
        class_names: Names of the classes.
    """

    number: int | None
    glacier: str
    name: str
    class_names: list[str]


class GlacierIntervals:
    """The intervals of the areas of one map, on glaciers numbered on the common grid."""

    def __init__(self, areas: DeliveredAreas, own: Grid, numbers: NDArray[np.int32], grid: Grid, *, ids: bool) -> None:
        """Find which outlines lie on which glacier.

        Args:
            areas: The areas delivered with the map.
            own: The map's grid.
            numbers: (H, W) numbers of the glaciers on the common grid, 0 outside and where a date is unknown.
            grid: The common grid.
            ids: Whether the glaciers are called by their ids in an inventory; connected patches are only counted, and
                the report may have a glacier with such a number.
        """
        self._totals = areas.report.totals
        self._of_glacier = {glacier.id: glacier.areas for glacier in areas.report.glaciers} if ids else {}

        def numbers_in(window: Window) -> NDArray[Any]:
            onto = np.zeros(window.shape, dtype=np.int32)
            reproject(
                numbers,
                onto,
                src_transform=grid.affine,
                src_crs=grid.crs,
                dst_transform=own.window_transform(window),
                dst_crs=own.crs,
                resampling=Resampling.nearest,
            )
            return onto

        self._parts = OutlineParts(areas.outlines, own, numbers_in)

    def interval(self, method: ErrorMethod, ground: Ground, mapped_km2: float) -> AreaInterval | None:
        """Return the interval of an area; None where it is undefined.

        Args:
            method: `TOTAL` or `OUTLINES`; outlines are not added up to all glaciers.
            ground: What the area is of.
            mapped_km2: The mapped area on the common grid, to which the relative errors of the map's own grid apply.
        """
        mapped = self._parts.area(ground.number, ground.class_names)
        if method is ErrorMethod.OUTLINES:
            return None if ground.number is None else mapped.of(mapped_km2)
        areas: Sequence[Area] = self._totals
        if ground.number is not None:
            areas = self._of_glacier.get(ground.glacier, [])
        total = next((area for area in areas if area.name == ground.name), None)
        return _of_total(total, mapped, mapped_km2)


def with_intervals(
    areas: AreaChange, ground: Ground, maps: tuple[GlacierIntervals | None, GlacierIntervals | None]
) -> AreaChange:
    """Return areas with calibrated intervals where one method gives them for both dates, else with those they have."""
    earlier, later = maps
    if earlier is None or later is None or areas.before == areas.after == 0:
        return areas
    for method in (ErrorMethod.TOTAL, ErrorMethod.OUTLINES):
        before = earlier.interval(method, ground, areas.before)
        after = later.interval(method, ground, areas.after)
        if before is not None and after is not None:
            return replace(areas, before_interval=before, after_interval=after, method=method)
    return areas


def _of_total(total: Area | None, mapped: RegionArea, mapped_km2: float) -> AreaInterval | None:
    """Return the interval of the part of a total that is compared."""
    if total is None or total.area_km2 is None or total.low_km2 is None or total.high_km2 is None:
        return None
    share = mapped.mapped_km2 / total.mapped_km2 if total.mapped_km2 else 0.0
    if not 0 < share <= _OTHER_POLYGON or mapped_km2 == 0:
        return None
    whole = AreaInterval(total.area_km2, total.low_km2, total.high_km2)
    return RegionArea(mapped.mapped_km2, whole.part(min(share, 1.0))).of(mapped_km2)
