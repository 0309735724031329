"""Glacier outlines as the vector files that GIS people open."""

import io
import json
import tempfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping

from imagery.grid import Grid
from imagery.outline_table import OutlineTable, Terrain, tabulate

_LAYER: Final = "glacier_outlines"
_DECIMALS: Final = 7  # of a degree: about a centimetre


def write_outlines_geojson(
    mask: NDArray[np.uint8],
    grid: Grid,
    *,
    smoothing_px: float = 0.0,
    terrain: Terrain | None = None,
    src_date: date | None = None,
) -> bytes:
    """The glacier outlines of a label mask as GeoJSON (RFC 7946): WGS 84, longitude first, exteriors counter-clockwise.

    Each feature is one 4-connected patch of ice, its properties the fields of `imagery.outline_table.OutlineTable`.
    Coordinates are rounded to 1e-7 degree, about a centimetre. A mask without ice gives a collection without features.

    Args:
        mask: (H, W) label mask.
        grid: Where it lies.
        smoothing_px: 0 for outlines along pixel edges; more as in `imagery.polygons.mask_to_polygons`.
        terrain: The relief on the same grid, for the attributes that need it.
        src_date: Day of the image.

    Raises:
        SceneError: The mask's or the relief's size is not the grid's, or the CRS has no transformation to WGS 84.
        OutlineError: The smoothing is negative or not finite.
    """
    table = tabulate(mask, grid, smoothing_px=smoothing_px, terrain=terrain, src_date=src_date)
    rounded = shapely.transform(table.wgs84, lambda points: points.round(_DECIMALS))
    rows = zip(*(_json_column(column) for column in table.fields.values()), strict=True)
    features = [
        {"type": "Feature", "properties": dict(zip(table.fields, row, strict=True)), "geometry": mapping(outline)}
        for row, outline in zip(rows, rounded, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False).encode()


def write_outlines_gpkg(
    mask: NDArray[np.uint8],
    grid: Grid,
    *,
    smoothing_px: float = 0.0,
    terrain: Terrain | None = None,
    src_date: date | None = None,
) -> bytes:
    """The glacier outlines of a label mask as a GeoPackage in the scene's CRS.

    One layer, `glacier_outlines`, with the fields of `write_outlines_geojson`, which see for arguments and errors.
    """
    table = tabulate(mask, grid, smoothing_px=smoothing_px, terrain=terrain, src_date=src_date)
    file = io.BytesIO()
    _write(file, table, grid, "GPKG")
    return file.getvalue()


def write_outlines_shapefile(
    mask: NDArray[np.uint8],
    grid: Grid,
    *,
    smoothing_px: float = 0.0,
    terrain: Terrain | None = None,
    src_date: date | None = None,
) -> bytes:
    """The glacier outlines of a label mask as a zipped shapefile in the scene's CRS.

    `glacier_outlines.shp` with its .shx, .dbf, .prj and .cpg (UTF-8), and the fields of `write_outlines_geojson`, which
    see for arguments and errors.
    """
    table = tabulate(mask, grid, smoothing_px=smoothing_px, terrain=terrain, src_date=src_date)
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        _write(Path(directory, f"{_LAYER}.shp"), table, grid, "ESRI Shapefile", encoding="UTF-8")
        for part in sorted(Path(directory).iterdir()):
            file.write(part, part.name)
    return archive.getvalue()


def _write(target: Path | io.BytesIO, table: OutlineTable, grid: Grid, driver: str, **options: Any) -> None:
    columns = list(table.fields.values())
    pyogrio.raw.write(
        target,
        shapely.to_wkb(table.ground),
        field_data=columns,
        # Without these masks NaN would be written as a number.
        field_mask=[np.isnan(column) if column.dtype.kind == "f" else None for column in columns],
        fields=list(table.fields),
        driver=driver,
        layer=_LAYER,
        geometry_type="Polygon",
        crs=grid.crs,
        **options,
    )


def _json_column(column: NDArray[Any]) -> list[Any]:
    """Plain Python values, NaN as None: JSON has no NaN."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if np.isnan(value) else round(value, 7) for value in column.tolist()]
