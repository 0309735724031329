"""Transforming geometries between coordinate reference systems. Axis order is always x (east, longitude) first."""

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


def reproject(geometry: Any, source: str, target: str) -> Any:
    """Transform the vertices of a shapely geometry (or an array of them) from one CRS to another.

    Edges stay straight between their transformed ends: densify first where that matters.

    Raises:
        SceneError: There is no transformation between the systems, or the projection is undefined at a vertex.
    """
    if same_crs(source, target):
        return geometry
    return shapely.transform(geometry, lambda points: _transform(points, source, target))


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
    (lon, lat), (end_lon, end_lat) = _transform(starts, crs, WGS84).T, _transform(ends, crs, WGS84).T
    azimuth, _, metres = ELLIPSOID.inv(lon, lat, end_lon, end_lat)
    return np.stack([metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))])


def to_wgs84(polygon: Polygon, crs: str) -> Polygon | MultiPolygon:
    """Transform a polygon to longitude and latitude as RFC 7946 (GeoJSON) requires.

    Exterior rings run counter-clockwise (section 3.1.6), and a polygon that crosses the antimeridian is cut there
    (section 3.1.9), also if it encloses a pole.

    Returns:
        The polygon in EPSG:4326, degrees, longitude first, -180 to 180.

    Raises:
        SceneError: As `reproject`.
    """
    moved = reproject(polygon, crs, WGS84)
    if not any(_crosses_antimeridian(ring) for ring in (moved.exterior, *moved.interiors)):
        return orient(moved, 1.0)
    cut = _cut(moved.exterior).difference(shapely.union_all([_cut(ring) for ring in moved.interiors]))
    parts = [orient(part, 1.0) for part in getattr(cut, "geoms", [cut])]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _transform(points: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    moved = np.column_stack(_transformer(source, target).transform(points[:, 0], points[:, 1]))
    if not np.isfinite(moved).all():
        at = points[~np.isfinite(moved).all(axis=1)][0]
        raise SceneError(
            f"({at[0]:g}, {at[1]:g}) in {source} has no place in {target}; "
            "check that the coordinates are in the CRS that their file declares"
        )
    return moved


def _crosses_antimeridian(ring: Any) -> bool:
    # No edge here spans half the globe, so a jump of more than 180 degrees means that the antimeridian is crossed.
    longitude = shapely.get_coordinates(ring)[:, 0]
    return bool(np.abs(np.diff(longitude)).max() > 180.0)


def _cut(ring: Any) -> Any:
    """Cut the area inside a longitude-latitude ring at the antimeridian, into parts within -180 to 180."""
    points = shapely.get_coordinates(ring)
    points[:, 0] = np.unwrap(points[:, 0], period=360.0)
    if abs(points[-1, 0] - points[0, 0]) > 180.0:  # the ring goes round the globe: the area reaches the pole
        pole = 90.0 if points[:, 1].mean() > 0 else -90.0
        points = np.vstack([points, [[points[-1, 0], pole], [points[0, 0], pole]]])
    area = Polygon(points)
    worlds = range(int((points[:, 0].min() + 180) // 360), int((points[:, 0].max() + 180) // 360) + 1)
    parts = [
        shapely.affinity.translate(
            area.intersection(shapely.box(360.0 * k - 180, -90, 360.0 * k + 180, 90)), -360.0 * k
        )
        for k in worlds
    ]
    return shapely.union_all(parts)
