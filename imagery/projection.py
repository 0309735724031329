"""Transforming geometries between coordinate reference systems. Axis order is always x (east, longitude) first."""

import math
import re
from functools import lru_cache
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.polygon import orient

from imagery.errors import SceneError

WGS84: Final = "EPSG:4326"
ELLIPSOID: Final = Geod(ellps="WGS84")
# Names of map projections (EPSG) whose meridians are parallel lines; x grows evenly with longitude.
_CYLINDRICAL: Final = re.compile(r"mercator|cylindrical|plate carr", re.IGNORECASE)
_NOT_NORMAL: Final = re.compile(r"transverse|oblique", re.IGNORECASE)
_FARTHEST_DEGREES: Final = 540.0  # some systems count longitudes from 0 to 360, and a layer may continue there
_HIGHEST_DEGREES: Final = 90.01  # of latitude, with the rounding of headers
# What PROJ calls a step between two datums whose shift it does not know, for which it takes 0.
_BALLPARK: Final = re.compile(r"Ballpark geo(graphic|centric)")
# Semi-major axis (m) and inverse flattening of the ellipsoids of Earth-centred datums (WGS 84, GRS 1980, WGS 72,
# PZ-90), and how much they differ. The axes of those that fit one country differ by 13 m or more.
_EARTH_CENTRED: Final = (6378137.0, 298.2572)
_NEARLY_EARTH_CENTRED: Final = (3.0, 0.005)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    try:
        return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
    except ProjError as error:
        raise SceneError(
            f"no transformation from {source!r} to {target!r}; expected two georeferenced coordinate systems ({error})"
        ) from error


@lru_cache(maxsize=64)
def same_crs(a: str, b: str) -> bool:
    """Return whether two CRS strings (authority code or WKT) mean the same system, ignoring the declared axis order.

    Raises:
        SceneError: PROJ does not know one of the systems.
    """
    try:
        return a == b or CRS.from_user_input(a).equals(CRS.from_user_input(b), ignore_axis_order=True)
    except ProjError as error:
        raise SceneError(
            f"found the coordinate systems {a!r} and {b!r}; expected two that PROJ knows ({error})"
        ) from error


def impossible_place(crs: str, bounds: tuple[float, float, float, float]) -> str | None:
    """Return why coordinates are no place on the Earth, as "found ...; expected ..."; None if they may be one.

    Args:
        crs: Their CRS.
        bounds: Smallest x, smallest y, largest x, largest y.

    Raises:
        SceneError: PROJ does not know the CRS.
    """
    name, kind, is_map, in_degrees = _kind_of(crs)
    if not is_map:
        return (
            f"found the coordinate reference system {name!r}, which has no place on Earth ({kind}); expected a "
            "geographic or projected one"
        )
    left, bottom, right, top = bounds
    if in_degrees and (max(-left, right) > _FARTHEST_DEGREES or max(-bottom, top) > _HIGHEST_DEGREES):
        return (
            f"found x {left:.6g} to {right:.6g} and y {bottom:.6g} to {top:.6g} in {name}; expected longitude and "
            "latitude in degrees"
        )
    return None


@lru_cache(maxsize=64)
def _kind_of(crs: str) -> tuple[str, str, bool, bool]:
    """Return name and type of a CRS, whether it is a geographic or projected one, and whether it is in degrees."""
    try:
        system = CRS.from_user_input(crs)
    except ProjError as error:
        raise SceneError(f"found the coordinate system {crs!r}; expected one that PROJ knows ({error})") from error
    is_map = "undefined" not in system.name.lower() and (system.is_geographic or system.is_projected)
    unit = system.axis_info[0].unit_name if system.axis_info else "degree"
    return system.name, system.type_name, is_map, system.is_geographic and "degree" in unit


@lru_cache(maxsize=256)
def unknown_shift(source: str, target: str, at: tuple[float, float]) -> str | None:
    """Return which shift between two datums PROJ does not know at a place and takes as 0; None if it knows.

    The datums of older surveys lie 50 to 900 m from WGS 84 (Everest 1830, Beijing 1954, PSAD56, ...), and PROJ has
    parameters only for some areas. A shift that is unknown is harmless between datums whose ellipsoids are those of
    the whole Earth, which agree within some metres (WGS 84, ITRF, ETRS89, NAD83, CGCS2000, unnamed ones), and for
    spheres, on which longitude and latitude of WGS 84 are used as they are (MODIS).

    Takes at most some 50 ms once the transformation has been made, usually 0.1 ms, and is remembered.

    Args:
        source: A CRS.
        target: Another.
        at: Coordinates in `source`.

    Returns:
        A phrase that names both datums.

    Raises:
        SceneError: As `reproject`.
    """
    if same_crs(source, target):
        return None
    transformer = _transformer(source, target)
    transformer.transform(*at)
    try:
        used = transformer.get_last_used_operation()
    except ProjError:  # there is only one, which PROJ does not look up by place
        used = transformer
    ends = CRS.from_user_input(source), CRS.from_user_input(target)
    if not _BALLPARK.search(used.description) or all(map(_is_earth_centred, ends)):
        return None
    names = [crs.geodetic_crs.datum.name if crs.geodetic_crs and crs.geodetic_crs.datum else crs.name for crs in ends]
    return f"from the datum {names[0]!r} to {names[1]!r}"


def _is_earth_centred(crs: CRS) -> bool:
    """Return whether the ellipsoid of a CRS is that of the whole Earth, or a sphere."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None or ellipsoid.semi_minor_metre == ellipsoid.semi_major_metre:
        return True
    found = ellipsoid.semi_major_metre, ellipsoid.inverse_flattening
    return all(
        abs(a - b) <= tolerance for a, b, tolerance in zip(found, _EARTH_CENTRED, _NEARLY_EARTH_CENTRED, strict=True)
    )


def reproject(geometry: Any, source: str, target: str) -> Any:
    """Transform the vertices of a shapely geometry (or an array of them) from one CRS to another.

    Edges stay straight between their transformed ends: densify first where that matters.

    Raises:
        SceneError: There is no transformation between the systems, or the projection is undefined at a vertex.
    """
    if same_crs(source, target):
        return geometry
    return shapely.transform(geometry, lambda points: transform_points(points, source, target))


def geodesic_offsets(starts: NDArray[np.float64], ends: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Compute how far east and north of its start each end lies, along the geodesic on the WGS 84 ellipsoid.

    Args:
        starts: (n, 2) coordinates, projected or in degrees (longitude first).
        ends: (n, 2), as `starts`.
        crs: The CRS of both.

    Returns:
        (2, n) metres: east, then north.

    Raises:
        SceneError: As `reproject`.
    """
    (lon, lat), (end_lon, end_lat) = transform_points(starts, crs, WGS84).T, transform_points(ends, crs, WGS84).T
    azimuth, _, metres = ELLIPSOID.inv(lon, lat, end_lon, end_lat)
    return np.stack([metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))])


@lru_cache(maxsize=64)
def period(crs: str) -> float | None:
    """Return after how many units of x a CRS repeats: 360 in degrees, the equator's length in Mercator; else None.

    In such a system the antimeridian is a seam, and x and x + period are the same place.

    Raises:
        SceneError: PROJ does not know the system.
    """
    try:
        system = CRS.from_user_input(crs)
    except ProjError as error:
        raise SceneError(f"found the coordinate system {crs!r}; expected one that PROJ knows ({error})") from error
    if system.is_geographic:
        return 2 * math.pi / (system.axis_info[0].unit_conversion_factor if system.axis_info else math.radians(1))
    projection = system.coordinate_operation
    if projection is None or not _CYLINDRICAL.search(projection.method_name):
        return None
    if _NOT_NORMAL.search(projection.method_name):
        return None
    central = next((float(item.value) for item in projection.params if "longitude" in item.name.lower()), 0.0)
    here = transform_points(np.array([[central, 0.0], [central + 1.0, 0.0]]), WGS84, crs)
    return 360.0 * float(here[1, 0] - here[0, 0])


def unwrap(polygon: Polygon, turn: float) -> Polygon:
    """Make the exterior of a polygon continuous where x jumps by about one period (the antimeridian).

    A ring that goes once round the globe is closed over the pole that it encloses.

    Args:
        polygon: Without holes, in a CRS with a period; no edge spans half of it.
        turn: The period of the CRS (see `period`).
    """
    points = shapely.get_coordinates(polygon.exterior)
    points[:, 0] = np.unwrap(points[:, 0], period=turn)
    if abs(points[-1, 0] - points[0, 0]) > turn / 2:
        pole = math.copysign(turn / 4, points[:, 1].mean())
        points = np.vstack([points, [[points[-1, 0], pole], [points[0, 0], pole]]])
    return Polygon(points)


def to_wgs84(polygon: Polygon | MultiPolygon, crs: str) -> Polygon | MultiPolygon:
    """Transform polygons to longitude and latitude as RFC 7946 (GeoJSON) requires.

    Exterior rings run counter-clockwise (section 3.1.6), and a polygon that crosses the antimeridian is cut there
    (section 3.1.9), also if it encloses a pole.

    Returns:
        The polygon in EPSG:4326, degrees, longitude first, -180 to 180.

    Raises:
        SceneError: As `reproject`.
    """
    if polygon.geom_type == "MultiPolygon":
        moved_parts = [to_wgs84(part, crs) for part in polygon.geoms]
        return MultiPolygon([part for moved in moved_parts for part in getattr(moved, "geoms", [moved])])
    moved = reproject(polygon, crs, WGS84)
    if not _crosses_antimeridian(moved):
        return orient(moved, 1.0)
    cut = _cut(moved.exterior).difference(shapely.union_all([_cut(ring) for ring in moved.interiors]))
    parts = [orient(part, 1.0) for part in getattr(cut, "geoms", [cut])]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def transform_points(points: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Transform coordinates (n, 2) from one CRS to another.

    Raises:
        SceneError: As `reproject`.
    """
    x, y = points.T if len(points) != 1 else points[0]  # pyproj deprecates arrays of one number
    moved = np.column_stack(_transformer(source, target).transform(x, y))
    if not np.isfinite(moved).all():
        at = points[~np.isfinite(moved).all(axis=1)][0]
        raise SceneError(
            f"({at[0]:g}, {at[1]:g}) in {source} has no place in {target}; "
            "check that the coordinates are in the CRS that their file declares"
        )
    return moved


def _crosses_antimeridian(polygon: Polygon) -> bool:
    left, _, right, _ = polygon.bounds
    if left < -180.0 or right > 180.0:  # longitudes beyond 180 degrees continue a raster across the antimeridian
        return True
    # No edge here spans half the globe, so a jump of more than 180 degrees means that the antimeridian is crossed.
    rings = (polygon.exterior, *polygon.interiors)
    return any(np.abs(np.diff(shapely.get_coordinates(ring)[:, 0])).max() > 180.0 for ring in rings)


def _cut(ring: Any) -> Any:
    """Cut the area inside a longitude-latitude ring at the antimeridian, into parts within -180 to 180."""
    area = unwrap(Polygon(ring), 360.0)
    left, _, right, _ = area.bounds
    parts = [
        shapely.affinity.translate(
            area.intersection(shapely.box(360.0 * k - 180, -90, 360.0 * k + 180, 90)), -360.0 * k
        )
        for k in range(int((left + 180) // 360), int((right + 180) // 360) + 1)
    ]
    return shapely.union_all(parts)
