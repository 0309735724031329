"""Reading polygons from vector files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid

Bounds = tuple[float, float, float, float]
"""Smallest x, smallest y, largest x, largest y."""

# By ending: how such a file begins and which GDAL driver reads it. Left to itself GDAL goes by content alone, and
# some of its formats (OGR VRT for one) can be made to read any file or address.
_FORMATS: Final = {
    ".gpkg": (b"SQLite format 3\0", "GPKG"),
    ".geojson": (b"{", "GeoJSON"),
    ".json": (b"{", "GeoJSON"),
    ".shp": (b"\x00\x00\x27\x0a", "ESRI Shapefile"),
}


@dataclass(frozen=True)
class VectorLayer:
    """The polygons of a layer near a scene.

    Attributes:
        crs: The layer's own CRS.
        extent: Bounds of the whole layer in its own CRS.
        scene_extent: Bounds of the scene in the layer's CRS.
        polygons: (n,) shapely polygons and multipolygons that may touch the scene, in the scene's CRS, valid, holes
            kept.
    """

    crs: str
    extent: Bounds
    scene_extent: Bounds
    polygons: NDArray[np.object_]

    @property
    def misses_scene(self) -> bool:
        """Whether the layer's extent and the scene have no ground in common."""
        return not shapely.box(*self.extent).intersects(shapely.box(*self.scene_extent))


def read_layer(path: str, layer: str | None, grid: Grid) -> VectorLayer:
    """Read the polygons of a layer that may touch a scene; rows without a geometry are passed over.

    Args:
        path: A local GeoPackage, GeoJSON or shapefile, in any CRS.
        layer: The layer to read; None only where the file has just one.
        grid: The scene.

    Raises:
        OutlineError: The file cannot be read, has no CRS, no features, several layers of which none was chosen, or
            geometries that are no polygons or have no place in the scene's CRS.
    """
    _check_format(path)
    try:
        layer = _choose_layer(path, layer)
        info = pyogrio.read_info(path, layer=layer, force_feature_count=True, force_total_bounds=True)
        _check_info(path, info)
        crs = str(info["crs"])
        scene_extent = grid.footprint_in(crs).bounds
        wkb = pyogrio.raw.read(path, layer=layer, columns=[], bbox=scene_extent)[2]
        geometries = shapely.from_wkb(np.array([item for item in wkb if item is not None], dtype=object))
        moved = grid.from_crs(shapely.force_2d(geometries), crs)
    except (DataSourceError, DataLayerError, SceneError) as error:
        raise OutlineError(f"{path}: {error}") from error
    valid = (_valid_polygon(path, geometry) for geometry in moved)
    # What has no area after the repair, a sliver drawn there and back, covers no pixel.
    polygons = np.array([polygon for polygon in valid if not polygon.is_empty], dtype=object)
    left, bottom, right, top = (float(value) for value in info["total_bounds"])
    return VectorLayer(crs, (left, bottom, right, top), scene_extent, polygons)


def polygonal(geometry: Any) -> list[Any]:
    """The polygons of non-zero area in any shapely geometry, collections taken apart."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold multipolygons
    return [part for part in parts if part.geom_type == "Polygon" and part.area > 0]


def _check_format(path: str) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise OutlineError(f"{path}: found the ending {suffix!r}; expected one of {', '.join(_FORMATS)}")
    try:
        with Path(path).open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n" if suffix.endswith("json") else b"")
    except OSError as error:
        raise OutlineError(f"{path}: found no readable file; expected one ({error.strerror})") from error
    magic, driver = _FORMATS[suffix]
    if not start.startswith(magic):
        raise OutlineError(f"{path}: found a file that begins with {start[:16]!r}; expected a {driver} file")


def _choose_layer(path: str, layer: str | None) -> str:
    names = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    if layer is None and len(names) == 1:
        return names[0]
    if layer is None or layer not in names:
        found = "no layer name" if layer is None else f"the layer name {layer!r}"
        raise OutlineError(f"{path}: found {found}; expected one of {', '.join(names)}")
    return layer


def _check_info(path: str, info: dict[str, Any]) -> None:
    driver = _FORMATS[Path(path).suffix.lower()][1]
    if info["driver"] != driver:
        raise OutlineError(f"{path}: found a {info['driver']} file; expected a {driver} file")
    if not info["crs"]:
        raise OutlineError(
            f"{path}: found no coordinate reference system; expected one: assign it with ogr2ogr -a_srs "
            "(a shapefile needs its .prj file beside it)"
        )
    if not info["features"]:
        raise OutlineError(f"{path}: found no features in layer {info['layer_name']!r}; expected polygons")


def _valid_polygon(path: str, geometry: Any) -> Any:
    if geometry.geom_type not in {"Polygon", "MultiPolygon"}:
        raise OutlineError(f"{path}: found a {geometry.geom_type}; expected only polygons")
    # A bow tie becomes two triangles, a spike vanishes; what is left of the area is kept.
    return geometry if geometry.is_valid else shapely.union_all(polygonal(shapely.make_valid(geometry)))
