"""The change between two scenes of one ground: area a glacier and class, gained and lost polygons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from imagery.change import (
    CONVERTED,
    GAINED,
    LOST,
    AreaChange,
    common_grid,
    compare_areas,
    map_onto,
    number_glaciers,
    total,
    transitions,
)
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.coregistration import Shift, estimate_shift
from imagery.errors import SceneError
from imagery.glaciers import InventoryPart
from imagery.grid import Grid
from imagery.polygons import mask_to_map_polygons
from imagery.projection import ELLIPSOID, to_wgs84
from imagery.scene_source import SceneSource
from services.change_intervals import GlacierIntervals, Ground, with_intervals
from services.delivered_areas import DeliveredAreas

ALL_GLACIERS: Final = "all"
KINDS: Final[Mapping[int, str]] = {GAINED: "gained", LOST: "lost", CONVERTED: "converted"}
DAYS_PER_YEAR: Final = 365.25


@dataclass(frozen=True)
class DatedMap:
    """A scene and what was mapped on it.

    Attributes:
        scene: The scene's name.
        acquired: The day of the image, if known.
        source: The scene.
        classes: (H, W) class map on the scene's grid, 255 where unknown.
        class_names: Names of the classes by value, background first; only two for a binary model.
        origin: Who mapped it ("model version 3").
        areas: The areas delivered with the map, with calibrated intervals; None for outlines given by people.
    """

    scene: str
    acquired: date | None
    source: SceneSource
    classes: NDArray[np.uint8]
    class_names: tuple[str, ...]
    origin: str
    areas: DeliveredAreas | None = None


@dataclass(frozen=True)
class ChangeRow:
    """One row of the table of changes.

    Attributes:
        glacier: The glacier's id or number, or "all".
        class_name: The class, or all classes together.
        areas: The areas and their errors.
    """

    glacier: str
    class_name: str
    areas: AreaChange


@dataclass(frozen=True)
class ChangedGround:
    """One connected piece of ground that changed.

    Attributes:
        kind: "gained", "lost" or "converted" (from one class to another).
        before: Name of the class at the first date.
        after: Name of the class at the second date.
        polygon: In the CRS of the grid.
        area_km2: On the ellipsoid.
        width_m: Mean width: twice the area divided by the perimeter.
        wider_than_error: Whether the width exceeds what misplaced outlines and the shift of the images explain.
    """

    kind: str
    before: str
    after: str
    polygon: Polygon
    area_km2: float
    width_m: float
    wider_than_error: bool


@dataclass(frozen=True)
class Change:
    """What changed between two scenes.

    Attributes:
        first: The earlier scene, or the prior outlines, which may be later than the image.
        second: The later scene.
        grid: The common grid.
        before: (H, W) class map of the first scene on the common grid.
        after: (H, W) class map of the second.
        codes: (H, W) what became of each pixel (`imagery.change.transitions`).
        shift: The displacement of the second image against the first; None if it could not be estimated.
        known_km2: Ground that is known at both dates.
        rows: The table: all glaciers together first, then each; single classes first, then all classes together.
        ground: The pieces that changed.
        notes: What to know of the polygons of the glaciers.
    """

    first: DatedMap
    second: DatedMap
    grid: Grid
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    shift: Shift | None
    known_km2: float
    rows: tuple[ChangeRow, ...]
    ground: tuple[ChangedGround, ...]
    notes: tuple[str, ...] = ()

    @property
    def years(self) -> float | None:
        """Time between the images; None if a date is unknown, or prior outlines are later than the image."""
        if self.first.acquired is None or self.second.acquired is None or self.first.acquired > self.second.acquired:
            return None
        return (self.second.acquired - self.first.acquired).days / DAYS_PER_YEAR


def check_order(first: str, first_day: date | None, second: str, second_day: date | None) -> None:
    """Refuse two scenes, given by their names and days, of which the second is the earlier one.

    Raises:
        SceneError: It is.
    """
    if first_day and second_day and first_day > second_day:
        raise SceneError(
            f"found {first} of {first_day} before {second} of {second_day}; expected the earlier scene first"
        )


def compare(first: DatedMap, second: DatedMap, scheme: ClassScheme, inventory: InventoryPart | None = None) -> Change:
    """Compare two scenes of one ground; their sensors, resolutions and CRSs may differ.

    Args:
        first: The earlier scene, or the prior outlines.
        second: The later scene.
        scheme: The scheme of the classes, which names all of them together.
        inventory: The glaciers, in the CRS of the coarser scene (`imagery.change.common_grid`); polygons of one name
            are one glacier. Without any, each connected patch of mapped ground counts as a glacier.

    Raises:
        SceneError: The scenes share no ground, no ground is known at both dates, or the maps have different classes.
    """
    inventory = inventory or InventoryPart()
    if first.class_names != second.class_names:
        raise SceneError(
            f"found the classes {', '.join(first.class_names)} in {first.scene} and {', '.join(second.class_names)} in "
            f"{second.scene}; expected the same classes in both"
        )
    grid = common_grid(first.source.grid, second.source.grid)
    before, after = (map_onto(item.classes, item.source.grid, grid) for item in (first, second))
    codes = transitions(before, after)
    if (codes == UNKNOWN).all():
        raise SceneError(f"found no ground that is known in both {first.scene} and {second.scene}; expected some")
    shift = estimate_shift(first.source, second.source, grid)
    numbers, names = number_glaciers(before, after, inventory.named_polygons, grid)
    compared = np.where(codes == UNKNOWN, 0, numbers)
    ids = bool(inventory.glaciers)
    intervals = _intervals(first, compared, grid, ids=ids), _intervals(second, compared, grid, ids=ids)
    return Change(
        first,
        second,
        grid,
        before,
        after,
        codes,
        shift,
        _known_km2(codes, grid),
        _table(before, after, numbers, names, first.class_names, scheme.foreground, grid, intervals),
        _changed_ground(before, after, codes, first.class_names, grid, shift),
        inventory.notes,
    )


def _intervals(item: DatedMap, numbers: NDArray[np.int32], grid: Grid, *, ids: bool) -> GlacierIntervals | None:
    return None if item.areas is None else GlacierIntervals(item.areas, item.source.grid, numbers, grid, ids=ids)


def _table(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    numbers: NDArray[np.int32],
    names: Sequence[str],
    class_names: Sequence[str],
    together: str,
    grid: Grid,
    intervals: tuple[GlacierIntervals | None, GlacierIntervals | None],
) -> tuple[ChangeRow, ...]:
    groups = {name: [value] for value, name in enumerate(class_names) if value != BACKGROUND}
    if len(groups) > 1:
        groups[together] = [value for values in groups.values() for value in values]
    columns = {name: compare_areas(before, after, numbers, len(names), values, grid) for name, values in groups.items()}
    rows = []
    for number, glacier in ((None, ALL_GLACIERS), *enumerate(names, start=1)):
        for name, values in groups.items():
            if columns[name]:
                areas = total(columns[name]) if number is None else columns[name][number - 1]
                ground = Ground(number, glacier, name, [class_names[value] for value in values])
                rows.append(ChangeRow(glacier, name, with_intervals(areas, ground, intervals)))
    return tuple(rows)


def _changed_ground(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    class_names: Sequence[str],
    grid: Grid,
    shift: Shift | None,
) -> tuple[ChangedGround, ...]:
    """Outline what changed; each piece has one class before and one after."""
    # One number for each pair of classes that occurs, so that a piece never mixes pairs.
    pairs = np.unique(np.stack([before, after])[:, np.isin(codes, list(KINDS))], axis=1).T.tolist()
    numbered: NDArray[np.uint16] = np.zeros(codes.shape, dtype=np.uint16)  # 20 classes make 380 pairs
    for number, (old, new) in enumerate(pairs, start=1):
        numbered[(before == old) & (after == new)] = number
    ground = []
    for number, polygon in mask_to_map_polygons(numbered, grid, range(1, len(pairs) + 1)):
        old, new = pairs[number - 1]
        area_m2, perimeter_m = _measure(polygon, grid)
        width = 2 * area_m2 / perimeter_m
        pixel_m = np.sqrt(area_m2 * grid.pixel_area() / polygon.area)
        # Half a pixel at each date, at the 95 % level, and the shift between the images.
        error = np.hypot(1.96 * np.hypot(0.5 * pixel_m, 0.5 * pixel_m), shift.length_m if shift else 0.0)
        kind = KINDS[int(_code(old, new))]
        ground.append(
            ChangedGround(
                kind, class_names[old], class_names[new], polygon, area_m2 / 1e6, float(width), bool(width > error)
            )
        )
    return tuple(ground)


def _code(before: int, after: int) -> np.uint8:
    pair = np.array([[before], [after]], dtype=np.uint8)
    code: np.uint8 = transitions(pair[0], pair[1])[0]
    return code


def _measure(polygon: Polygon, grid: Grid) -> tuple[float, float]:
    """Return area and perimeter (holes included) of a polygon on the ellipsoid, in metres."""
    area, perimeter = ELLIPSOID.geometry_area_perimeter(to_wgs84(polygon, grid.crs))
    return abs(float(area)), float(perimeter)


def _known_km2(codes: NDArray[np.uint8], grid: Grid) -> float:
    known = np.where(codes == UNKNOWN, 0, 1).astype(np.uint8)
    whole = np.zeros(codes.shape, dtype=np.uint8)
    areas = compare_areas(whole, known, np.ones(codes.shape, dtype=np.int32), 1, [1], grid)
    return areas[0].after
