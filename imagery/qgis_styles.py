"""Styles of QGIS (.qml) in the colours of the classes, and a table of a GeoPackage by which QGIS finds them.

They hold what differs from QGIS's defaults, and are read by QGIS 3.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # written, never read  # nosec B405

from imagery.classes import BACKGROUND, LabelClass
from imagery.vectors import CLASS_FIELD

_FILL_ALPHA: Final = 60
_LINE_MM: Final = 0.5
_OTHERS: Final = (107, 114, 128)  # grey

# As QGIS and GDAL write it (https://docs.qgis.org/latest/en/docs/user_manual/introduction/qgis_file_formats.html).
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256),
  f_table_schema TEXT(256),
  f_table_name TEXT(256),
  f_geometry_column TEXT(256),
  styleName TEXT(30),
  styleQML TEXT,
  styleSLD TEXT,
  useAsDefault BOOLEAN,
  description TEXT,
  owner TEXT(30),
  ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_DECLARE: Final = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description)
VALUES ('layer_styles', 'attributes', 'layer_styles', '')
"""
_INSERT: Final = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
  styleSLD, useAsDefault, description, owner)
SELECT '', '', table_name, column_name, 'classes', ?, '', 1, 'The classes in their colours', ''
FROM gpkg_geometry_columns WHERE table_name = ?
"""


def outlines_qml(classes: Iterable[LabelClass]) -> str:
    """Return the style of a layer of outlines: each class but background in its colour, seen through."""
    root = _style()
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=CLASS_FIELD)
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    named = [(item.name, item.name, item.rgb) for item in _drawn(classes)]
    # An empty value stands for all others: the foreground of a binary network, or what a person has mistyped.
    for number, (value, label, rgb) in enumerate([*named, ("", "other", _OTHERS)]):
        category = {"value": value, "label": label, "symbol": str(number), "render": "true"}
        SubElement(categories, "category", category)
        symbol = SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        colour = ",".join(map(str, rgb))
        options = SubElement(layer, "Option", type="Map")
        for name, option in (
            ("color", f"{colour},{_FILL_ALPHA}"),
            ("outline_color", f"{colour},255"),
            ("outline_width", str(_LINE_MM)),
            ("outline_width_unit", "MM"),
        ):
            SubElement(options, "Option", type="QString", name=name, value=option)
            SubElement(layer, "prop", k=name, v=option)  # for QGIS before 3.22
    return _text(root)


def classes_qml(classes: Iterable[LabelClass]) -> str:
    """Return the style of a class map, a raster: each class but background in its colour."""
    root = _style()
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="0.6")
    palette = SubElement(renderer, "colorPalette")
    for item in _drawn(classes):
        SubElement(palette, "paletteEntry", value=str(item.value), color=item.colour, alpha="255", label=item.name)
    return _text(root)


def add_style(path: Path, layer: str, qml: str) -> None:
    """Store a style in a GeoPackage as the one by which QGIS shows a layer at first."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_CREATE)
        database.execute(_DECLARE)
        database.execute(_INSERT, (qml, layer))


def _style() -> Element:
    return Element("qgis", version="3.16.0", styleCategories="Symbology")


def _drawn(classes: Iterable[LabelClass]) -> list[LabelClass]:
    return [item for item in classes if item.value != BACKGROUND]


def _text(root: Element) -> str:
    indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root, encoding="unicode") + "\n"
