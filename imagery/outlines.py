"""Writing the outlines of classes as vector files: GeoJSON, GeoPackage, shapefile."""

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, mapping

from imagery.gdal_limits import limited_pyogrio
from imagery.outline_table import OutlineTable
from imagery.qgis_styles import Colours, add_style, outlines_qml
from imagery.vectors import CLASS_FIELD

_DECIMALS: Final = 7  # of a degree: about a centimetre


def write_outlines_geojson(table: OutlineTable) -> bytes:
    """Encode outlines as GeoJSON (RFC 7946): WGS 84, longitude first, exteriors counter-clockwise.

    Each feature is one 4-connected patch of one class, or a part of it; its properties are the fields of the table.
    Coordinates are rounded to 1e-7 degree, about a centimetre. Without outlines the collection has no features.
    """
    rounded = shapely.transform(table.wgs84, lambda points: points.round(_DECIMALS))
    rows = zip(*(_json_column(column) for column in table.fields.values()), strict=True)
    features = [
        {"type": "Feature", "properties": dict(zip(table.fields, row, strict=True)), "geometry": mapping(outline)}
        for row, outline in zip(rows, rounded, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False).encode()


def write_outlines_gpkg(table: OutlineTable, layer: str, colours: Colours | None = None) -> bytes:
    """Encode outlines as a GeoPackage in the scene's CRS: one layer of this name, with the table's fields.

    With colours it holds a style, too, in which QGIS shows the layer.
    """
    file = io.BytesIO()
    multi = bool((shapely.get_type_id(table.map_polygons) == shapely.GeometryType.MULTIPOLYGON).any())
    _write(file, table, layer, "GPKG", "MultiPolygon" if multi else "Polygon", promote_to_multi=multi)
    return add_style(file.getvalue(), layer, outlines_qml(colours)) if colours else file.getvalue()


def write_outlines_shapefile(table: OutlineTable, layer: str, colours: Colours | None = None) -> bytes:
    """Encode outlines as a zipped shapefile in the scene's CRS, with the table's fields.

    The archive holds a .shp named as the layer, with its .shx, .dbf, .prj and .cpg (UTF-8), and with colours the .qml
    in whose style QGIS shows the layer.
    """
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        _write(Path(directory, f"{layer}.shp"), table, layer, "ESRI Shapefile", "Polygon", encoding="UTF-8")
        if colours:
            Path(directory, f"{layer}.qml").write_text(outlines_qml(colours), "utf-8")
        for part in sorted(Path(directory).iterdir()):
            file.write(part, part.name)
    return archive.getvalue()


@dataclass(frozen=True)
class ClassLayer:
    """The polygons of one class, in a layer of their own.

    Attributes:
        name: Name of the layer.
        class_name: The value of the field `class` of every feature.
        polygons: In the CRS of the file.
    """

    name: str
    class_name: str
    polygons: Sequence[Polygon]


def write_class_layers(path: Path, layers: Sequence[ClassLayer], crs: str) -> None:
    """Write a GeoPackage with one layer a class, as `imagery.vectors.read_layer` reads it.

    Args:
        path: The file to write; it is replaced if it exists.
        layers: At least one layer.
        crs: Authority code or WKT of the polygons' CRS.
    """
    pyogrio = limited_pyogrio()

    # pyogrio misreads "!" and ";" in a path, and only for reading is there another way (see `imagery.paths`).
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "layers.gpkg")
        for layer in layers:
            pyogrio.raw.write(
                file,
                np.array([shapely.to_wkb(polygon) for polygon in layer.polygons], dtype=object),
                field_data=[np.array([layer.class_name] * len(layer.polygons), dtype=object)],
                fields=[CLASS_FIELD],
                driver="GPKG",
                layer=layer.name,
                geometry_type="Polygon",
                crs=crs,
            )
        shutil.move(file, path)


def _write(
    target: Path | io.BytesIO, table: OutlineTable, layer: str, driver: str, geometry_type: str, **options: Any
) -> None:
    pyogrio = limited_pyogrio()

    columns = list(table.fields.values())
    pyogrio.raw.write(
        target,
        shapely.to_wkb(table.map_polygons),
        field_data=columns,
        # Without these masks NaN would be written as a number instead of null.
        field_mask=[np.isnan(column) if column.dtype.kind == "f" else None for column in columns],
        fields=list(table.fields),
        driver=driver,
        layer=layer,
        geometry_type=geometry_type,
        crs=table.crs,
        **options,
    )


def _json_column(column: NDArray[Any]) -> list[Any]:
    """Convert a column to plain Python values, NaN to None because JSON has no NaN."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if np.isnan(value) else round(value, 7) for value in column.tolist()]
