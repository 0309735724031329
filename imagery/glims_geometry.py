"""Check the geometry of glacier outlines: rings, places, areas, and how outlines lie to each other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree
from shapely.geometry import Polygon

from imagery.glims import GLACIERS, ON_GLACIERS, LineType, place_of
from imagery.glims_findings import ERROR, WARNING, Finding, Table
from imagery.outline_table import area_km2
from imagery.shapefile_rings import read_rings

# Edges of two outlines are densified each for itself, and coordinates are rounded: about 0.1 m.
_TOLERANCE_DEG: Final = 1e-6
_OVERLAP_KM2: Final = 1e-4  # a hundred square metres
_OUTSIDE_SHARE: Final = 1e-3
_AREA_TOLERANCE: Final = 0.05  # of the area: map-plane areas of projections differ by less
_ID_TOLERANCE_DEG: Final = 0.0015  # identifiers are rounded to thousandths
_FARTHEST_DEG: Final = 360.0  # some systems count longitudes from 0 to 360
_FEWEST_POINTS: Final = 4  # of a ring, the first repeated as the last


def check_outlines(table: Table) -> Iterator[Finding]:
    """Yield what is wrong with the rings of each outline, and with its area.

    Raises:
        ExportError: The file is damaged.
    """
    faults: dict[str, list[int]] = {}
    for index, rings in enumerate(read_rings(table.path)):
        for fault in _faults_of(rings):
            faults.setdefault(fault, []).append(index)
    for fault, features in faults.items():
        more = f" ({len(features)} features)" if len(features) > 1 else ""
        yield Finding(ERROR, table.name, features[0], fault + more)
    usable = _usable(table)
    invalid = np.array(
        [bool(ok) and not shapely.is_valid(item) for ok, item in zip(usable, table.geometries, strict=True)],
        dtype=np.bool_,
    )
    yield from table.rows(invalid, ERROR, "found an outline that crosses or touches itself; expected a valid polygon")
    stated = table.numbers("area")
    wrong = np.zeros(len(usable), dtype=np.bool_)
    for index in np.flatnonzero(usable & ~invalid & np.isfinite(stated)):
        true = abs(area_km2(table.geometries[index]))
        wrong[index] = abs(stated[index] - true) > max(_AREA_TOLERANCE * true, _OVERLAP_KM2)
    yield from table.rows(wrong, ERROR, "found an area that is not that of the outline; expected square kilometres")


def _faults_of(rings: list[NDArray[np.float64]]) -> Iterator[str]:
    if not rings:
        yield "found no geometry; expected a polygon"
        return
    if any(not np.isfinite(ring).all() for ring in rings):
        yield "found a coordinate that is no number"
        return
    if any((np.abs(ring[:, 0]) > _FARTHEST_DEG).any() or (np.abs(ring[:, 1]) > 90).any() for ring in rings):
        yield "found coordinates beyond the Earth; expected degrees, longitude first"
        return
    if any(len(ring) < _FEWEST_POINTS for ring in rings):
        yield "found a ring of fewer than 4 points; expected an area"
        return
    if any((ring[0] != ring[-1]).any() for ring in rings):
        yield "found a ring that is not closed; expected its first point as its last, too"
        return
    if any(_signed_area(ring) == 0 for ring in rings):
        yield "found a ring without area"
        return
    depth = _depths(rings)
    clockwise = np.array([_signed_area(ring) < 0 for ring in rings])
    if (clockwise != (depth % 2 == 0)).any():
        yield "found a ring that runs the wrong way; a shapefile's exteriors run clockwise, its holes counter-clockwise"


def _signed_area(ring: NDArray[np.float64]) -> float:
    """Return twice the area of a ring, positive if it runs counter-clockwise."""
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def _depths(rings: list[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return how many other rings each ring lies in."""
    depth: NDArray[np.int64] = np.zeros(len(rings), dtype=np.int64)
    if len(rings) > 1:
        areas = np.array([shapely.make_valid(Polygon(ring)) for ring in rings], dtype=object)
        inner, outer = STRtree(areas).query(shapely.point_on_surface(areas), predicate="within")
        size = shapely.area(areas)
        np.add.at(depth, inner[size[outer] > size[inner]], 1)
    return depth


@dataclass(frozen=True)
class _Ground:
    """The ground of a glacier, widened by the tolerance once for all outlines on it: it may have a million vertices.

    Attributes:
        glacier: Its outline.
    """

    glacier: Any

    @cached_property
    def area(self) -> Any:
        """Its area, without rock outcrops."""
        return _widened(self.glacier, _TOLERANCE_DEG)

    @cached_property
    def exterior(self) -> Any:
        """All within its exterior."""
        filled = shapely.union_all([Polygon(part.exterior) for part in shapely.get_parts(self.glacier)])
        return _widened(filled, _TOLERANCE_DEG)


def check_topology(tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Yield outlines that overlap, and outlines on a glacier that do not lie on it."""
    table = tables[GLACIERS]
    kinds = np.array(table.texts("line_type"))
    bounds = _usable(table) & (kinds == LineType.GLACIER)
    numbers = np.flatnonzero(bounds)
    glaciers = np.array([shapely.make_valid(item) for item in table.geometries[bounds]], dtype=object)
    overlapping = np.zeros(len(kinds), dtype=np.bool_)
    for first, second in zip(*STRtree(glaciers).query(glaciers, predicate="intersects"), strict=True):
        if first < second:
            common = glaciers[first].intersection(glaciers[second])
            overlapping[numbers[second]] |= _extent_km2(common) > _OVERLAP_KM2
    yield from table.rows(
        overlapping, ERROR, "found a glacier that overlaps another; expected each place in one glacier"
    )
    grounds = {identifier: _Ground(glaciers[place]) for place, identifier in _by_id(table, numbers)}
    for name, other in tables.items():
        yield from _check_inside(other, grounds, (LineType.ROCK,) if name == GLACIERS else ON_GLACIERS)


def _by_id(table: Table, numbers: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    identifiers = table.texts("glac_id")
    for place, number in enumerate(numbers):
        yield place, identifiers[number]


def _check_inside(table: Table, grounds: Mapping[str, _Ground], kinds: tuple[LineType, ...]) -> Iterator[Finding]:
    """Check outlines that belong to a glacier: rock within its exterior, everything else within its area."""
    unknown, outside = (np.zeros(len(table.geometries), dtype=np.bool_) for _ in range(2))
    usable, names = _usable(table), table.texts("glac_id")
    for index, kind in enumerate(table.texts("line_type")):
        if kind not in kinds or not usable[index]:
            continue
        ground = grounds.get(names[index])
        if ground is None:
            unknown[index] = True
            continue
        outline = shapely.make_valid(table.geometries[index])
        outside[index] = _reaches_beyond(outline, ground.exterior if kind == LineType.ROCK else ground.area)
    yield from table.rows(unknown, ERROR, "found an outline whose glac_id is that of no glacier")
    yield from table.rows(outside, ERROR, "found an outline that reaches beyond its glacier")


def _widened(geometry: Any, by: float) -> Any:
    """Return a geometry with a margin, prepared to be compared with many others."""
    wide = geometry.buffer(by)
    shapely.prepare(wide)
    return wide


def _reaches_beyond(outline: Any, ground: Any) -> bool:
    """Return whether more of an outline than `_OUTSIDE_SHARE` lies outside of a prepared polygon."""
    if shapely.covers(ground, outline):  # far faster than a difference, and the answer for nearly all
        return False
    return bool(shapely.difference(outline, ground).area > _OUTSIDE_SHARE * outline.area)


def check_places(glaciers: Table, images: Table) -> Iterator[Finding]:
    """Yield glaciers outside their images, and glaciers far from the place that their identifier states."""
    usable = _usable(glaciers)
    footprints = shapely.union_all([shapely.make_valid(item) for item in images.geometries[_usable(images)]])
    imaged = _widened(footprints, 10 * _TOLERANCE_DEG)
    outside, far = (np.zeros(len(usable), dtype=np.bool_) for _ in range(2))
    for index, identifier in enumerate(glaciers.texts("glac_id")):
        if not usable[index]:
            continue
        outline = shapely.make_valid(glaciers.geometries[index])
        if not footprints.is_empty:
            outside[index] = _reaches_beyond(outline, imaged)
        place = place_of(identifier)
        far[index] = place is not None and outline.distance(shapely.Point(place)) > _ID_TOLERANCE_DEG
    yield from glaciers.rows(outside, ERROR, "found a glacier outside the footprints of the layer images")
    yield from glaciers.rows(
        far,
        WARNING,
        "found a glacier that does not cover the place of its glac_id; right if it has had this one before",
    )


def _usable(table: Table) -> NDArray[np.bool_]:
    """Return which records have a polygon on the Earth: GEOS fails on coordinates that are no numbers, or too large."""
    return np.array([_is_polygon(item) and _is_on_earth(item) for item in table.geometries], dtype=np.bool_)


def _is_polygon(item: Any) -> bool:
    return item is not None and item.geom_type in {"Polygon", "MultiPolygon"} and not item.is_empty


def _is_on_earth(item: Any) -> bool:
    return bool((np.abs(shapely.get_coordinates(item)) <= _FARTHEST_DEG).all())  # which NaN is not


def _extent_km2(geometry: Any) -> float:
    """Return the area of the polygons of a geometry."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    return sum(abs(area_km2(part)) for part in parts)
