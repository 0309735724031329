"""Turning what vector files store into valid polygons, and saying what was repaired or left out."""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from imagery.projection import unwrap

_POLYGON, _MULTIPOLYGON = 3, 6
_COLLECTIONS: Final = {4, 5, 6, 7, 15, 16}
# WKB types that GEOS does not read (OGC Simple Features 1.2.1): their parts are stored as polygons are.
_AS_POLYGONS: Final = {15: _MULTIPOLYGON, 16: _MULTIPOLYGON, 17: _POLYGON}  # polyhedral surface, TIN, triangle
_OPEN_RING: Final = "Ring not closed"
_JUMP: Final = "Edge around half the globe, taken as one across the antimeridian"
_AT_SEAM: Final = 1e-6  # share of the period


@dataclass(frozen=True)
class Repair:
    """The repair of one invalid geometry.

    Attributes:
        feature: The feature's number in the file (OGR's FID, as GIS programs show it).
        reason: Why it was invalid, in GEOS's words, with the place in the layer's CRS: "Self-intersection[x y]".
        dropped: Whether it was dropped because nothing with an area was left.
        nested: Whether it was rebuilt by which ring lies inside which, because its shells and holes contradict that.
        lost: Whether it encloses an area of which most was lost: a hole is larger than its shell, and rings cross.
    """

    feature: int
    reason: str
    dropped: bool
    nested: bool = False
    lost: bool = False


@dataclass(frozen=True)
class LeftOut:
    """A feature, or a part of one, that is no polygon.

    Attributes:
        feature: The feature's number in the file.
        reason: What it is: "LineString", "no geometry".
    """

    feature: int
    reason: str


@dataclass(frozen=True)
class Shapes:
    """Polygons of features.

    Attributes:
        features: (n,) numbers of the features in the file.
        polygons: (n,) polygons and multipolygons, not empty.
        repairs: What was repaired.
        left_out: What is no polygon.
    """

    features: NDArray[np.int64]
    polygons: NDArray[np.object_]
    repairs: tuple[Repair, ...]
    left_out: tuple[LeftOut, ...]


def decode(features: NDArray[np.int64], wkb: NDArray[np.object_], turn: float | None = None) -> Shapes:
    """Decode WKB to valid polygons in two dimensions.

    Polygons inside collections, and the faces of 3-D surfaces (MultiPatch, TIN) as seen from above, are polygons.
    Rings that are not closed are closed. Each ring of an invalid polygon is repaired by itself and holes are then
    subtracted from their shell, so that a hole that crosses the shell never becomes ice and overlapping parts never
    become a hole. Shells and holes that contradict how their rings lie (a hole around its shell, a shell inside of
    another one, as GDAL sorts the rings of shapefiles that wind the wrong way) are taken by which ring lies inside
    which: the outermost is a shell, those in it are holes, those in a hole are shells again.

    Args:
        features: (n,) numbers of the features.
        wkb: (n,) geometries; None without a geometry.
        turn: The period of their CRS; polygons are then continued across the antimeridian (see `unwrapped`).
    """
    given = np.array([item is not None for item in wkb], dtype=np.bool_)
    left_out = [LeftOut(int(feature), "no geometry") for feature in features[~given]]
    features = features[given]
    decoded, closed = _from_wkb(wkb[given])
    repairs = [Repair(int(features[index]), _OPEN_RING, dropped=False) for index in closed]
    kept, polygons = [], []
    for feature, geometry in zip(features.tolist(), decoded, strict=True):
        polygon, others = _polygonal_part(geometry)
        left_out += [LeftOut(feature, other) for other in others]
        if polygon is not None:
            kept.append(feature)
            polygons.append(polygon if turn is None else unwrapped(polygon, turn))
            if polygons[-1] is not polygon:
                repairs.append(Repair(feature, _JUMP, dropped=False))
    numbers, shapes = np.array(kept, dtype=np.int64), np.empty(len(kept), dtype=object)
    shapes[:] = polygons
    valid, repaired = _repair(numbers, shapes)
    whole = ~shapely.is_empty(valid)
    return Shapes(numbers[whole], valid[whole], (*repairs, *repaired), tuple(left_out))


def unwrapped(polygon: Polygon | MultiPolygon, turn: float) -> Polygon | MultiPolygon:
    """Make a polygon continuous whose vertices jump across the antimeridian, as from 179.9 to -179.9 degrees.

    An edge of more than half a turn is such a jump, unless it runs along the whole map from seam to seam.

    Args:
        polygon: In a CRS with a period.
        turn: The period.
    """
    if np.ptp(polygon.bounds[::2]) <= turn / 2 or not _jumps(polygon, turn):
        return polygon
    parts, stored = [], []
    for part in shapely.get_parts(polygon):
        shell, *holes = (unwrap(Polygon(ring), turn) for ring in (part.exterior, *part.interiors))
        # A hole lies beside its own shell.
        turns = [round((shell.centroid.x - hole.centroid.x) / turn) for hole in holes]
        moved = [shapely.affinity.translate(hole, k * turn) for hole, k in zip(holes, turns, strict=True)]
        stored.append(Polygon(shell.exterior, [hole.exterior for hole in moved]))
        shell, *moved = make_valid(np.array([shell, *moved], dtype=object))
        parts.append(shapely.difference(shell, shapely.union_all(moved)))
    nested, _ = _by_nesting(MultiPolygon(stored))
    whole: Polygon | MultiPolygon = shapely.union_all(parts) if nested is None else nested
    return whole


def make_valid(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make polygons valid, each ring by itself; a polygon without area becomes empty."""
    repaired = polygons.copy()
    invalid = ~shapely.is_valid(polygons)
    repaired[invalid] = shapely.make_valid(polygons[invalid], method="structure", keep_collapsed=False)
    return repaired


def polygonal(geometry: Any) -> list[Any]:
    """Return the polygons of non-zero area in any shapely geometry, also those inside collections."""
    return [part for part in _simple_parts(geometry) if part.geom_type == "Polygon" and part.area > 0]


def describe_repairs(repairs: Sequence[Repair]) -> str:
    """Summarise repairs in one line: how many outlines were repaired or dropped, why, and where the first one is.

    Raises:
        ValueError: There are no repairs to describe.
    """
    if not repairs:
        raise ValueError("found no repairs; expected at least one to describe")
    kinds = Counter(repair.reason.partition("[")[0] for repair in repairs)
    why = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    dropped = sum(repair.dropped for repair in repairs)
    nested = sum(repair.nested for repair in repairs)
    taken = f"; of {nested}, rings inside of other rings are taken as holes" if nested else ""
    first = repairs[0]
    return (
        f"invalid outlines: {len(repairs) - dropped} repaired, {dropped} dropped for having no area; "
        f"{why}{taken}; the first is feature {first.feature}: {first.reason}"
    )


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """Summarise in one line what is no polygon: how many features, what they are, and which is the first.

    Raises:
        ValueError: Nothing was left out.
    """
    if not left_out:
        raise ValueError("found nothing that was left out; expected at least one feature to describe")
    kinds = Counter(item.reason for item in left_out)
    what = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    return f"left out because they are no polygons: {what}; the first is feature {left_out[0].feature}"


def _from_wkb(wkb: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Return shapely geometries (None where unreadable), and the indices of those whose rings were closed."""
    with np.errstate(invalid="ignore"):  # coordinates that are not numbers
        decoded: NDArray[np.object_] = shapely.from_wkb(wkb, on_invalid="ignore")
        failed = np.flatnonzero(shapely.is_missing(decoded))
        for index in failed:
            surface = shapely.from_wkb(_without_surfaces(wkb[index]), on_invalid="ignore")
            # The faces of a surface touch or hide each other, which is no fault: they are joined as a collection is.
            decoded[index] = None if surface is None else shapely.GeometryCollection(_simple_parts(surface))
        still = failed[shapely.is_missing(decoded[failed])]
        for index in still:
            decoded[index] = shapely.from_wkb(_without_surfaces(wkb[index]), on_invalid="fix")
    decoded = shapely.force_2d(decoded)
    return decoded, still[~shapely.is_missing(decoded[still])]


def _without_surfaces(wkb: bytes) -> bytes:
    """Return WKB with the types of `_AS_POLYGONS` replaced; the same bytes if they are no such WKB."""
    changed = bytearray(wkb)
    try:
        _replace_types(changed, 0)
    except (struct.error, IndexError, RecursionError):
        return wkb
    return bytes(changed)


def _replace_types(wkb: bytearray, start: int) -> int:
    """Replace the types of the geometry that begins at a byte, and of its parts; return where it ends."""
    order = "<" if wkb[start] else ">"
    code = int(struct.unpack_from(f"{order}I", wkb, start + 1)[0])
    has_z, has_m = bool(code & 0x80000000), bool(code & 0x40000000)  # of the older, "extended" WKB
    kind = (code & 0x0FFFFFFF) % 1000
    dimension = (code & 0x0FFFFFFF) // 1000  # 1: with z, 2: with m, 3: with both
    size = 8 * (2 + (has_z or dimension in {1, 3}) + (has_m or dimension in {2, 3}))
    struct.pack_into(f"{order}I", wkb, start + 1, code - kind + _AS_POLYGONS.get(kind, kind))
    at = start + 5
    if kind == 1:
        return at + size
    count = int(struct.unpack_from(f"{order}I", wkb, at)[0])
    at += 4
    if kind not in _COLLECTIONS and kind not in {_POLYGON, 17}:
        return at + count * size
    for _ in range(count):
        if kind in _COLLECTIONS:
            at = _replace_types(wkb, at)
        else:
            points = int(struct.unpack_from(f"{order}I", wkb, at)[0])
            at += 4 + points * size
    return at


def _polygonal_part(geometry: Any) -> tuple[Any, list[str]]:
    """Return the polygon or multipolygon in a geometry, or None; and what else it holds."""
    if geometry is None:
        return None, ["unreadable geometry"]
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None, ["coordinates that are not numbers"]
    if geometry.is_empty:
        return None, ["empty geometry"]
    if geometry.geom_type in {"Polygon", "MultiPolygon"}:
        return geometry, []
    parts = _simple_parts(geometry)
    polygons = [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]
    others = sorted({part.geom_type for part in parts if part.geom_type != "Polygon"})
    joined = shapely.union_all(make_valid(np.array(polygons, dtype=object)))
    if joined.is_empty:
        return None, others or ["no area"]
    return joined, others


def _simple_parts(geometry: Any) -> list[Any]:
    """Return the parts of a geometry, also of collections inside collections."""
    parts = list(shapely.get_parts(geometry))
    while any(hasattr(part, "geoms") for part in parts):
        parts = list(shapely.get_parts(parts))
    return parts


def _repair(
    features: NDArray[np.int64], geometries: NDArray[np.object_]
) -> tuple[NDArray[np.object_], tuple[Repair, ...]]:
    """Make geometries valid. What has no area afterwards, like a line drawn there and back, becomes empty."""
    invalid = np.flatnonzero(~shapely.is_valid(geometries))
    repaired = make_valid(geometries)
    reasons = shapely.is_valid_reason(geometries[invalid])
    repairs = []
    for index, reason in zip(invalid, reasons, strict=True):
        nested, lost = _by_nesting(geometries[index])
        if nested is not None:
            repaired[index] = nested
        dropped = bool(repaired[index].is_empty)
        repairs.append(Repair(int(features[index]), str(reason), dropped, nested=nested is not None, lost=lost))
    return repaired, tuple(repairs)


def _by_nesting(polygon: Polygon | MultiPolygon) -> tuple[Polygon | MultiPolygon | None, bool]:
    """Rebuild a polygon whose shells and holes contradict which ring lies inside which.

    Returns:
        The polygon; None if they do not contradict it, or rings cross. And whether rings cross while a hole is as large
        as its shell or larger, so that most of the polygon is lost.
    """
    rings, part_of = shapely.get_rings(shapely.get_parts(polygon), return_index=True)
    if len(rings) < 2:
        return None, False
    regions = make_valid(shapely.polygons(rings))
    areas = shapely.area(regions)
    is_shell = np.diff(part_of, prepend=-1) > 0
    shells, holes = np.flatnonzero(is_shell), np.flatnonzero(~is_shell)
    own = shells[part_of[holes]]
    larger = (areas[holes] >= areas[own]) & shapely.intersects(regions[holes], regions[own])
    cuts = shapely.within(regions[holes], regions[own]) | shapely.overlaps(regions[holes], regions[own])
    stray = ~cuts & (areas[holes] > 0)
    tree = shapely.STRtree(regions)
    inner, outer = tree.query(regions, predicate="within")
    inside = areas[inner] < areas[outer]
    inner, outer = inner[inside], outer[inside]
    if not (larger | stray).any() and not _has_nested_shells(regions, part_of, is_shell, inner, outer):
        return None, False
    if len(tree.query(regions, predicate="overlaps")[0]) or (areas[holes[larger]] == areas[own[larger]]).any():
        return None, bool(larger.any())
    depth = np.bincount(inner, minlength=len(rings))
    whole = shapely.union_all(regions[depth == 0])
    for level in range(1, depth.max(initial=0) + 1):
        change = shapely.difference if level % 2 else shapely.union
        whole = change(whole, shapely.union_all(regions[depth == level]))
    return whole, False


def _has_nested_shells(
    regions: NDArray[np.object_],
    part_of: NDArray[np.intp],
    is_shell: NDArray[np.bool_],
    inner: NDArray[np.intp],
    outer: NDArray[np.intp],
) -> bool:
    """Return whether a shell lies inside of another part, and neither along its edge nor in one of its holes.

    Args:
        regions: (n,) what each ring encloses.
        part_of: (n,) the part that a ring belongs to.
        is_shell: (n,) whether a ring is the shell of its part.
        inner: (m,) rings that lie inside of others.
        outer: (m,) those others.
    """
    in_hole = {(ring, part_of[around]) for ring, around in zip(inner, outer, strict=True) if not is_shell[around]}
    return any(
        is_shell[ring]
        and is_shell[around]
        and (ring, part_of[around]) not in in_hole
        and not shapely.intersection(regions[ring].boundary, regions[around].boundary).length
        for ring, around in zip(inner, outer, strict=True)
    )


def _jumps(polygon: Polygon | MultiPolygon, turn: float) -> bool:
    rings = (shapely.get_coordinates(ring)[:, 0] for ring in shapely.get_rings(shapely.get_parts(polygon)))
    steps = np.concatenate([np.abs(np.diff(ring)) for ring in rings])
    return bool(((steps > turn / 2) & (steps < turn * (1 - _AT_SEAM))).any())
