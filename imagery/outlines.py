"""Outlines of classes as the vector files that GIS people open."""

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, mapping

from imagery.outline_table import OutlineTable
from imagery.vectors import CLASS_FIELD

_DECIMALS: Final = 7  # of a degree: about a centimetre


def write_outlines_geojson(table: OutlineTable) -> bytes:
    """Write outlines as GeoJSON (RFC 7946): WGS 84, longitude first, exteriors counter-clockwise.

    Each feature is one 4-connected patch of one class; its properties are the fields of the table. Coordinates
    are rounded to 1e-7 degree, about a centimetre. No outlines give a collection without features.
    """
    rounded = shapely.transform(table.wgs84, lambda points: points.round(_DECIMALS))
    rows = zip(*(_json_column(column) for column in table.fields.values()), strict=True)
    features = [
        {"type": "Feature", "properties": dict(zip(table.fields, row, strict=True)), "geometry": mapping(outline)}
        for row, outline in zip(rows, rounded, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False).encode()


def write_outlines_gpkg(table: OutlineTable, layer: str) -> bytes:
    """Write outlines as a GeoPackage in the scene's CRS: one layer of this name, with the fields of the table."""
    file = io.BytesIO()
    _write(file, table, layer, "GPKG")
    return file.getvalue()


def write_outlines_shapefile(table: OutlineTable, layer: str) -> bytes:
    """Write outlines as a zipped shapefile in the scene's CRS.

    The .shp is named as the layer, and so are its .shx, .dbf, .prj and .cpg (UTF-8); it has the fields of the table.
    """
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        _write(Path(directory, f"{layer}.shp"), table, layer, "ESRI Shapefile", encoding="UTF-8")
        for part in sorted(Path(directory).iterdir()):
            file.write(part, part.name)
    return archive.getvalue()


def add_class_layer(path: Path, layer: str, class_name: str, polygons: Sequence[Polygon], crs: str) -> None:
    """Add a layer of polygons of one class to a GeoPackage, as `imagery.vectors.read_layer` reads it.

    Args:
        path: The GeoPackage; created if missing.
        layer: Name of the new layer.
        class_name: Goes into the field `class` of every feature.
        polygons: In the CRS given.
        crs: Authority code or WKT.
    """
    import pyogrio  # see imagery.vectors

    pyogrio.raw.write(
        path,
        np.array([shapely.to_wkb(polygon) for polygon in polygons], dtype=object),
        field_data=[np.array([class_name] * len(polygons), dtype=object)],
        fields=[CLASS_FIELD],
        driver="GPKG",
        layer=layer,
        geometry_type="Polygon",
        crs=crs,
    )


def _write(target: Path | io.BytesIO, table: OutlineTable, layer: str, driver: str, **options: Any) -> None:
    import pyogrio

    columns = list(table.fields.values())
    pyogrio.raw.write(
        target,
        shapely.to_wkb(table.ground),
        field_data=columns,
        # Without these masks NaN would be written as a number.
        field_mask=[np.isnan(column) if column.dtype.kind == "f" else None for column in columns],
        fields=list(table.fields),
        driver=driver,
        layer=layer,
        geometry_type="Polygon",
        crs=table.crs,
        **options,
    )


def _json_column(column: NDArray[Any]) -> list[Any]:
    """Plain Python values, NaN as None: JSON has no NaN."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if np.isnan(value) else round(value, 7) for value in column.tolist()]
