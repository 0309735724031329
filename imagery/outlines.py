"""From label masks to outlines: polygons at pixel edges, and the vector files that GIS people open."""

import io
import json
from collections.abc import Collection
from typing import Any, Final

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.features import shapes
from shapely.geometry import Polygon, mapping, shape

from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, LEGEND
from imagery.grid import Grid
from imagery.projection import to_wgs84
from imagery.vectors import polygonal

_ELLIPSOID: Final = Geod(ellps="WGS84")
_ICE: Final = (CLEAN_ICE.value, DEBRIS_COVERED_ICE.value)
_LAYER: Final = "glacier_outlines"
_DECIMALS: Final = 7  # of a degree: about a centimetre


def mask_to_polygons(mask: NDArray[np.uint8], values: Collection[int]) -> list[tuple[int, Polygon]]:
    """Outline the 4-connected patches of the given values along pixel edges, with their holes.

    Args:
        mask: (H, W) label mask.
        values: The class values to outline.

    Returns:
        (value, polygon) in pixel coordinates (x right, y down, (0, 0) the outer corner of the first pixel). Burning
        them again with `imagery.masks.compose` gives back exactly these pixels.
    """
    wanted = np.isin(mask, list(values))
    return [(int(value), shape(geometry)) for geometry, value in shapes(mask, mask=wanted, connectivity=4)]


def split_holes(polygon: Polygon) -> list[Polygon]:
    """Cut a polygon through its holes into polygons without holes that cover the same area.

    For tools whose polygons have no holes. Cuts are vertical and run along pixel edges where the polygon itself does,
    so that burning the parts gives the same pixels as burning the whole.
    """
    if not polygon.interiors:
        return [polygon]
    x = _cut_at(polygon.interiors[0])
    left, bottom, right, top = polygon.bounds
    halves = (shapely.box(left, bottom, x, top), shapely.box(x, bottom, right, top))
    return [part for half in halves for piece in polygonal(polygon.intersection(half)) for part in split_holes(piece)]


def ground_polygons(mask: NDArray[np.uint8], grid: Grid, values: Collection[int]) -> list[tuple[int, Polygon]]:
    """`mask_to_polygons` with coordinates in the grid's CRS.

    Raises:
        SceneError: The mask's size is not the grid's.
    """
    grid.check_shape(mask.shape)
    a, b, c, d, e, f = grid.transform
    return [
        (value, shapely.affinity.affine_transform(polygon, [a, b, d, e, c, f]))
        for value, polygon in mask_to_polygons(mask, values)
    ]


def write_outlines_geojson(mask: NDArray[np.uint8], grid: Grid) -> bytes:
    """The glacier outlines of a label mask as GeoJSON (RFC 7946): WGS 84, longitude first, exteriors counter-clockwise.

    Each feature is one 4-connected patch of ice with the properties `class` (its name) and `area_km2` (on the WGS 84
    ellipsoid, holes left out). A mask without ice gives a collection without features.

    Raises:
        SceneError: The mask's size is not the grid's, or the CRS has no transformation to WGS 84.
    """
    features = [
        {
            "type": "Feature",
            "properties": {"class": _name(value), "area_km2": round(_area_km2(outline), 6)},
            "geometry": _rounded(mapping(outline)),
        }
        for value, polygon in ground_polygons(mask, grid, _ICE)
        for outline in [to_wgs84(polygon, grid.crs)]
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def write_outlines_gpkg(mask: NDArray[np.uint8], grid: Grid) -> bytes:
    """The glacier outlines of a label mask as a GeoPackage in the scene's CRS.

    One layer, `glacier_outlines`, with the fields `class` and `area_km2` as in `write_outlines_geojson`.

    Raises:
        SceneError: As `write_outlines_geojson`.
    """
    outlines = ground_polygons(mask, grid, _ICE)
    areas = [_area_km2(to_wgs84(polygon, grid.crs)) for _, polygon in outlines]
    file = io.BytesIO()
    pyogrio.raw.write(
        file,
        np.array([shapely.to_wkb(polygon) for _, polygon in outlines], dtype=object),
        field_data=[
            np.array([_name(value) for value, _ in outlines], dtype=object),
            np.array(areas, dtype=np.float64),
        ],
        fields=["class", "area_km2"],
        driver="GPKG",
        layer=_LAYER,
        geometry_type="Polygon",
        crs=grid.crs,
    )
    return file.getvalue()


def _cut_at(hole: Any) -> float:
    """Where to cut so that the hole opens on both sides: a whole number if one will do, else its middle."""
    left, _, right, _ = hole.bounds
    middle = (left + right) / 2
    whole = float(round(middle))
    xs = shapely.get_coordinates(hole)[:, 0]
    along_an_edge = bool(np.any((xs[:-1] == whole) & (xs[1:] == whole)))
    return whole if left < whole < right or along_an_edge else middle


def _area_km2(outline: Any) -> float:
    # pyproj signs areas by winding: exteriors run counter-clockwise here, holes the other way.
    return float(_ELLIPSOID.geometry_area_perimeter(outline)[0]) / 1e6


def _rounded(geometry: dict[str, Any]) -> dict[str, Any]:
    def visit(node: Any) -> Any:
        return round(node, _DECIMALS) if isinstance(node, float) else [visit(child) for child in node]

    return {"type": geometry["type"], "coordinates": visit(geometry["coordinates"])}


def _name(value: int) -> str:
    return next(entry.name for entry in LEGEND if entry.value == value)
