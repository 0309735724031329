"""The part of delivered outlines that lies in a window: what somebody takes away of a view."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from imagery.area_interval import AreaInterval
from imagery.errors import OutlineError
from imagery.gdal_limits import limited_pyogrio
from imagery.grid import Grid, Window
from imagery.outline_table import OutlineTable, area_km2, central_points, densified_wgs84

PART_FIELD: Final = "part"
"""The attribute field that says which share of an outline's area lies in the file; 1: it is whole."""

_INTERVAL: Final = ("area_best", "area_low", "area_high")
# What holds only for a whole outline, and would have to be computed anew from pixels for a part.
_OF_WHOLE: Final = frozenset({"conf_mean", "zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg"})


@dataclass(frozen=True)
class CutOutlines:
    """Outlines, or parts of them, in a window.

    Attributes:
        grid: The scene's grid.
        polygons: (n,) polygons in its CRS; a MultiPolygon where the window's edge cuts an outline into several parts.
        fields: Columns (n,) as `OutlineTable.fields`, and `PART_FIELD`. Of parts, `area_km2`, `cenlon` and `cenlat` are
            those of the part, the interval of the area is that of a part (`AreaInterval.part`), and the confidence and
            the terrain are NaN.
    """

    grid: Grid
    polygons: NDArray[np.object_]
    fields: dict[str, NDArray[Any]]

    def table(self) -> OutlineTable:
        """Return the outlines as they are written to files."""
        return OutlineTable(self.grid.crs, self.polygons, densified_wgs84(self.polygons, self.grid), self.fields)


def cut_outlines(geopackage: bytes, grid: Grid, window: Window, most: int) -> CutOutlines:
    """Cut the outlines of a scene at the edges of a window.

    Args:
        geopackage: The outlines of the whole scene, as `imagery.outlines.write_outlines_gpkg` wrote them.
        grid: The scene's grid.
        window: The window.
        most: How many outlines may reach into the window.

    Raises:
        OutlineError: There are more.
    """
    ground = grid.footprint(window)
    polygons, fields = _read(geopackage, ground)
    shapely.prepare(ground)
    touching = shapely.intersects(ground, polygons)
    polygons = polygons[touching]
    fields = {name: column[touching] for name, column in fields.items()}
    if len(polygons) > most:
        raise OutlineError(f"found {len(polygons)} outlines in the window; expected at most {most}")
    crossing = np.flatnonzero(~shapely.covers(ground, polygons))
    polygons[crossing] = [_polygons_of(part) for part in shapely.intersection(polygons[crossing], ground)]
    kept = ~shapely.is_empty(polygons)
    fields[PART_FIELD] = np.ones(len(polygons))
    for index in crossing[kept[crossing]]:
        _describe_part(fields, index, polygons[index], grid)
    return CutOutlines(grid, polygons[kept], {name: column[kept] for name, column in fields.items()})


def _read(geopackage: bytes, ground: Polygon) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]]]:
    """Read the polygons whose boxes overlap that of the ground, and their attributes."""
    pyogrio = limited_pyogrio()

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "outlines.gpkg")  # GDAL complains of a GeoPackage without the ending
        file.write_bytes(geopackage)
        meta, _, wkb, columns = pyogrio.raw.read(file, layer=0, bbox=ground.bounds)
    return shapely.from_wkb(wkb), dict(zip(meta["fields"], columns, strict=True))


def _polygons_of(part: Any) -> Polygon | MultiPolygon:
    """Return what has an area of an intersection, which may hold the points and lines where polygons touch, too."""
    found = [item for item in shapely.get_parts(part) if item.geom_type == "Polygon"]
    return found[0] if len(found) == 1 else MultiPolygon(found)


def _describe_part(fields: dict[str, NDArray[Any]], index: int, part: Polygon | MultiPolygon, grid: Grid) -> None:
    """Set the attributes of an outline of which only a part is left."""
    wgs84 = densified_wgs84(np.array([part], dtype=object), grid)
    km2 = area_km2(wgs84[0])
    share = min(km2 / fields["area_km2"][index], 1.0)
    fields[PART_FIELD][index], fields["area_km2"][index] = share, km2
    for name, (value,) in central_points(wgs84).items():
        fields[name][index] = value
    whole = [float(fields[name][index]) for name in _INTERVAL if name in fields]
    if len(whole) == len(_INTERVAL) and np.isfinite(whole).all():
        of_part = AreaInterval(*whole).part(share)
        for name, value in zip(_INTERVAL, (of_part.best, of_part.low, of_part.high), strict=True):
            fields[name][index] = value
    for name in _OF_WHOLE & fields.keys():
        fields[name][index] = np.nan
