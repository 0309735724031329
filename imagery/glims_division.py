"""Dividing connected ice into glaciers along the polygons of an inventory."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import shapely
from shapely import STRtree
from shapely.geometry import MultiPolygon, Polygon

from imagery.glaciers import InventoryGlacier
from imagery.grid import Grid
from imagery.vector_geometry import polygonal

NARROW_PX: Final = 3.0
"""Strips along an inventory's polygon that are not wider come from outlines that do not fit each other exactly."""

# Ice that is farther than `NARROW_PX` from a glacier has all ice around it within this distance, in corners too.
_REACH_PX: Final = 1.5 * NARROW_PX

STEP_PX: Final = 2.0**-10
"""All coordinates are multiples of it, in pixels, so that pieces of one polygon fit each other exactly."""


def divide_ice(
    ice: Sequence[Polygon], inventory: Sequence[InventoryGlacier], grid: Grid
) -> list[tuple[Any, InventoryGlacier | None]]:
    """Divide connected ice along the polygons of an inventory.

    All ice within the polygons of one id is one glacier, in several parts if need be. Ice outside all of them stays
    connected glaciers where it is wider than `NARROW_PX`; strips that are not belong to the glacier beside them. Where
    polygons overlap, the later counts.

    Args:
        ice: Connected ice, in pixel coordinates.
        inventory: The inventory's glaciers, in the grid's CRS.
        grid: The grid.

    Returns:
        Polygons and multipolygons in pixel coordinates, and the glacier of the inventory, None outside all.
    """
    named = {glacier.name: glacier for glacier in reversed(inventory)}  # of several features of an id the first
    names = list(named)
    territories = _territories(inventory, names, grid)
    tree = STRtree(territories)
    divided: list[list[Polygon]] = [[] for _ in names]
    outside: list[Polygon] = []
    for polygon in ice:
        near = np.sort(tree.query(polygon, predicate="intersects")).tolist()
        if not near:
            outside.append(polygon)
            continue
        rest = shapely.difference(polygon, shapely.union_all(territories[near]), grid_size=STEP_PX)
        inside = shapely.intersection(polygon, territories[near], grid_size=STEP_PX)
        parts = {number: polygonal(piece) for number, piece in zip(near, inside, strict=True)}
        bodies, parts = _with_margins(polygonal(rest), parts)
        pieces: list[tuple[int | None, Polygon]] = [(None, body) for body in bodies]
        pieces += [(number, part) for number, found in parts.items() for part in found]
        for number, part in _without_strips(pieces):
            (outside if number is None else divided[number]).append(part)
    glaciers: list[tuple[Any, InventoryGlacier | None]] = [(polygon, None) for polygon in outside]
    for name, found in zip(names, divided, strict=True):
        if found:
            glaciers.append((found[0] if len(found) == 1 else MultiPolygon(found), named[name]))
    return glaciers


def _territories(inventory: Sequence[InventoryGlacier], names: Sequence[str], grid: Grid) -> Any:
    """Return the ground of each name, in pixel coordinates, without overlaps."""
    inverse = ~grid.affine
    linear = np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])
    place = {name: number for number, name in enumerate(names)}
    polygons = np.array([glacier.polygon for glacier in inventory], dtype=object)
    polygons = shapely.transform(polygons, lambda points: points @ linear + (inverse.c, inverse.f))
    polygons = shapely.set_precision(polygons, STEP_PX)
    own = np.array([place[glacier.name] for glacier in inventory])
    parts: list[list[Any]] = [[] for _ in names]
    tree = STRtree(polygons)
    for number, polygon in enumerate(polygons):
        later = [other for other in tree.query(polygon, predicate="intersects") if other > number]
        others = [polygons[other] for other in later if own[other] != own[number]]
        parts[own[number]].append(shapely.difference(polygon, shapely.union_all(others), grid_size=STEP_PX))
    return np.array([shapely.union_all(found, grid_size=STEP_PX) for found in parts], dtype=object)


def _with_margins(
    outside: Sequence[Polygon], parts: Mapping[int, list[Polygon]]
) -> tuple[list[Polygon], dict[int, list[Polygon]]]:
    """Give the margins of glaciers, which run around several of them, to each of these; return what is left, too."""
    near = {number: shapely.union_all(shapely.buffer(found, NARROW_PX)) for number, found in parts.items()}
    reach = {number: shapely.union_all(shapely.buffer(found, _REACH_PX)) for number, found in parts.items()}
    all_near = shapely.union_all(list(near.values()))
    bodies: list[Polygon] = []
    grown = {number: list(found) for number, found in parts.items()}
    for polygon in outside:
        cores = [core for core in polygonal(shapely.difference(polygon, all_near)) if not _is_narrow(core)]
        around = shapely.union_all(shapely.buffer(cores, _REACH_PX))
        bodies += polygonal(shapely.intersection(polygon, around, grid_size=STEP_PX))
        margin = shapely.difference(polygon, around, grid_size=STEP_PX)
        for number, ground in reach.items():
            grown[number] += polygonal(shapely.intersection(margin, ground, grid_size=STEP_PX))
            margin = shapely.difference(margin, ground, grid_size=STEP_PX)
        bodies += polygonal(margin)
    joined = {number: polygonal(shapely.union_all(found, grid_size=STEP_PX)) for number, found in grown.items()}
    return bodies, joined


def _is_narrow(polygon: Polygon) -> bool:
    return bool(shapely.buffer(polygon, -NARROW_PX / 2).is_empty)


def _without_strips(parts: Sequence[tuple[int | None, Polygon]]) -> list[tuple[int | None, Polygon]]:
    """Join narrow parts of connected ice with the wide part that they border longest."""
    narrow = [_is_narrow(part) for _, part in parts]
    wide = [number for number, is_narrow in enumerate(narrow) if not is_narrow]
    joined: dict[int, list[Polygon]] = {number: [parts[number][1]] for number in wide}
    kept = []
    tree = STRtree([parts[number][1] for number in wide])
    for number in np.flatnonzero(narrow).tolist():
        strip = parts[number][1]
        beside = [wide[index] for index in tree.query(strip, predicate="touches")]
        borders = [shapely.length(shapely.intersection(strip.boundary, parts[one][1].boundary)) for one in beside]
        if borders and max(borders) > 0:
            joined[beside[int(np.argmax(borders))]].append(strip)
        else:
            kept.append(parts[number])
    for number, pieces in joined.items():
        union = shapely.union_all(pieces, grid_size=STEP_PX) if len(pieces) > 1 else pieces[0]
        kept += [(parts[number][0], part) for part in polygonal(union)]
    return kept
