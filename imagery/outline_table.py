"""The attributes of glacier outlines, with the names of the Randolph Glacier Inventory 7.0 where it defines them.

Source: RGI Consortium 2023, Randolph Glacier Inventory version 7.0, doi:10.5067/f6jmovy5navz; user guide, "Glacier
product", full list of attributes: `area_km2`, `cenlon`, `cenlat`, `src_date`, `zmin_m`, `zmed_m`, `zmean_m`, `zmax_m`
and `slope_deg`, in the same units. The other attributes are ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import Polygon

from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.polygons import mask_to_polygons, to_map_coordinates
from imagery.projection import ELLIPSOID, to_wgs84
from imagery.smoothing import SmoothingError, smoothing_error
from imagery.vectors import CLASS_FIELD

_POLYGONS_PER_CALL: Final = 256  # Rasterio converts all vertices of one call to Python objects first
_TERRAIN_FIELDS: Final = ("zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg")
# A straight edge on the map is curved in longitude and latitude. Split into segments of a kilometre (32 pixels of 30 m)
# it deviates by centimetres at glaciers' latitudes.
_SEGMENT_PX: Final = 32


@dataclass(frozen=True)
class TerrainStrip:
    """Elevation and slope of consecutive rows of a mask, for the terrain attributes of RGI.

    Attributes:
        row: Index of the first row.
        elevation_m: (h, W) metres above the ellipsoid or geoid of its DEM; NaN where unknown.
        slope_deg: (h, W) degrees, 0 to 90; NaN where unknown.
    """

    row: int
    elevation_m: NDArray[np.floating[Any]]
    slope_deg: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class OutlineTable:
    """Glacier outlines and their attributes.

    Attributes:
        crs: The grid's CRS.
        map_polygons: (n,) polygons in this CRS.
        wgs84: (n,) the same in longitude and latitude, edges densified; MultiPolygons only across the antimeridian.
        fields: Columns (n,) by name, each name at most 10 characters long, as shapefiles need:

            - `outline_id`: running number from 1. One outline is a 4-connected patch of one class, not a glacier with
              its divides, and thus has no `rgi_id`.
            - `class`: name of the class.
            - `area_km2`: on the WGS 84 ellipsoid, holes left out.
            - `cenlon`, `cenlat`: centroid in degrees; where that lies outside the outline, a point inside it (RGI asks
              for an approximately central point inside).
            - `src_date`: day of the image (ISO 8601: YYYY-MM-DD), if known.
            - `zmin_m`, `zmed_m`, `zmean_m`, `zmax_m`, `slope_deg`: over the pixels whose centres the outline contains
              and whose value is known, the slope a mean; NaN where there are none; only with terrain.
            - `smooth_px`: the smoothing; `px_changed` and `area_diff`: its error, see `SmoothingError`, the area for
              the outline's class. All 0 without smoothing.
    """

    crs: str
    map_polygons: NDArray[np.object_]
    wgs84: NDArray[np.object_]
    fields: dict[str, NDArray[Any]]


def tabulate(
    mask: NDArray[np.uint8],
    grid: Grid,
    class_names: Sequence[str],
    *,
    smoothing_px: float = 0.0,
    terrain: Iterable[TerrainStrip] | None = None,
    src_date: date | None = None,
) -> OutlineTable:
    """Outline every class of a label mask except background and unknown.

    Args:
        mask: (H, W) label mask.
        grid: The grid of the mask.
        class_names: Names of the classes by their value, background first.
        smoothing_px: As `imagery.polygons.mask_to_polygons`.
        terrain: Terrain on the same grid, in strips from the first row to the last.
        src_date: Day of the image.

    Raises:
        SceneError: The mask or the terrain does not have the size of the grid, or the CRS has no WGS 84 transformation.
        OutlineError: The smoothing is negative or not finite.
    """
    grid.check_shape(mask.shape)
    outlined = range(1, len(class_names))
    outlines = mask_to_polygons(mask, outlined, smoothing_px=smoothing_px)
    values = np.array([value for value, _ in outlines], dtype=np.int64)
    map_polygons = to_map_coordinates(np.array([polygon for _, polygon in outlines], dtype=object), grid)
    wgs84 = densified_wgs84(map_polygons, grid)
    fields: dict[str, NDArray[Any]] = {
        "outline_id": np.arange(1, len(outlines) + 1, dtype=np.int32),
        CLASS_FIELD: np.array([class_names[int(value)] for value in values], dtype=object),
        "area_km2": np.array([area_km2(outline) for outline in wgs84], dtype=np.float64),
        **central_points(wgs84),
    }
    if src_date is not None:
        fields["src_date"] = np.full(len(outlines), src_date.isoformat(), dtype=object)
    if terrain is not None:
        fields |= terrain_statistics(terrain, [polygon for _, polygon in outlines], grid)
    error = SmoothingError(0.0, dict.fromkeys(outlined, 0.0))  # outlines along pixel edges reproduce their pixels
    if smoothing_px > 0:
        error = smoothing_error(mask, outlines, outlined)
    fields |= {
        "smooth_px": np.full(len(outlines), smoothing_px, dtype=np.float64),
        "px_changed": np.full(len(outlines), error.changed_share, dtype=np.float64),
        "area_diff": np.array([error.area_change[int(value)] for value in values], dtype=np.float64),
    }
    return OutlineTable(grid.crs, map_polygons, wgs84, fields)


def with_origin(table: OutlineTable, scene: str, version: int) -> OutlineTable:
    """Add the fields `scene`, its name, and `model_ver`, the number of the version that drew the outlines."""
    count = len(table.map_polygons)
    origin = {"scene": np.full(count, scene, dtype=object), "model_ver": np.full(count, version, dtype=np.int32)}
    return replace(table, fields=table.fields | origin)


def densified_wgs84(map_polygons: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Transform polygons in the grid's CRS to longitude and latitude, with edges split as finely as their bend asks."""
    dense = shapely.segmentize(map_polygons, _SEGMENT_PX * np.sqrt(grid.pixel_area()))
    transformed = np.empty(len(dense), dtype=object)
    transformed[:] = [to_wgs84(polygon, grid.crs) for polygon in dense]
    return transformed


def area_km2(outline: Any) -> float:
    """Return the area of a polygon in longitude and latitude on the WGS 84 ellipsoid, in square kilometres."""
    # pyproj signs areas by winding: exteriors run counter-clockwise here, holes the other way.
    return float(ELLIPSOID.geometry_area_perimeter(outline)[0]) / 1e6


def central_points(wgs84: NDArray[np.object_]) -> dict[str, NDArray[np.float64]]:
    """Return `cenlon` and `cenlat` of polygons: their centroids, or a point inside where these lie outside."""
    centroids = shapely.centroid(wgs84)
    centres = np.where(shapely.contains(wgs84, centroids), centroids, shapely.point_on_surface(wgs84))
    return {"cenlon": shapely.get_x(centres), "cenlat": shapely.get_y(centres)}


def terrain_statistics(
    strips: Iterable[TerrainStrip], polygons: Sequence[Polygon], grid: Grid
) -> dict[str, NDArray[np.float64]]:
    """Return the terrain attributes of polygons; only polygons that a strip cuts are kept in memory.

    Args:
        strips: Terrain on the grid, in strips from the first row to the last.
        polygons: In pixel coordinates.
        grid: The grid.

    Raises:
        SceneError: The strips do not follow each other over the whole grid.
    """
    owner = np.zeros((grid.height, grid.width), dtype=np.int32)
    for first in range(0, len(polygons), _POLYGONS_PER_CALL):
        numbered = enumerate(polygons[first : first + _POLYGONS_PER_CALL], start=first + 1)
        rasterize([(polygon, number) for number, polygon in numbered], out=owner)
    table = np.full((len(polygons), len(_TERRAIN_FIELDS)), np.nan)
    bottoms = [polygon.bounds[3] for polygon in polygons]  # in rows of the mask
    open_parts: dict[int, list[NDArray[np.float32]]] = {}
    row = 0
    for strip in strips:
        found = owner[row : row + len(strip.elevation_m)]
        if strip.row != row or not found.shape == strip.elevation_m.shape == strip.slope_deg.shape:
            raise SceneError(
                f"found relief of shape {strip.elevation_m.shape} from row {strip.row}; expected strips that follow "
                f"each other over {grid.height} rows x {grid.width} columns, the next from row {row}"
            )
        row += len(found)
        for number, part in _group_by_outline(found, strip):
            open_parts.setdefault(number, []).append(part)
        for number in [number for number in open_parts if bottoms[number - 1] <= row]:
            table[number - 1] = _summarise_terrain(np.concatenate(open_parts.pop(number), axis=1))
    if row != grid.height:
        raise SceneError(f"found relief of {row} rows; expected that of all {grid.height}")
    return dict(zip(_TERRAIN_FIELDS, table.T, strict=True))


def _group_by_outline(owner: NDArray[np.int32], strip: TerrainStrip) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the number of each outline in a strip, and elevation and slope of its pixels there, (2, n)."""
    inside = owner > 0
    order = np.argsort(owner[inside], kind="stable")
    numbers, starts = np.unique(owner[inside][order], return_index=True)
    values = np.stack([strip.elevation_m[inside], strip.slope_deg[inside]]).astype(np.float32)[:, order]
    yield from zip(numbers.tolist(), np.split(values, starts, axis=1)[1:], strict=True)


def _summarise_terrain(values: NDArray[np.float32]) -> tuple[float, ...]:
    """Return `_TERRAIN_FIELDS` of one outline, from elevation and slope of its pixels (2, n)."""
    heights, slopes = (part[np.isfinite(part)].astype(np.float64) for part in values)
    height_statistics = (
        (heights.min(), np.median(heights), heights.mean(), heights.max()) if heights.size else (np.nan,) * 4
    )
    return (*map(float, height_statistics), float(slopes.mean()) if slopes.size else np.nan)
