"""Styles of QGIS (.qml) in the colours of the classes, and a table of a GeoPackage by which QGIS finds them.

They hold what differs from QGIS's defaults, and are read by QGIS 3.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # written, never read  # nosec B405

from imagery.classes import BACKGROUND, LabelClass
from imagery.vectors import CLASS_FIELD

_FILL_ALPHA: Final = 60
_LINE_MM: Final = 0.5
_OTHERS: Final = "#6b7280"  # grey
Colours = Mapping[str, str]
"""Colour ("#rrggbb") by name of the class."""

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


def outlines_qml(colours: Colours) -> str:
    """Return the style of a layer of outlines: each class in its colour, seen through."""
    root = _style()
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=CLASS_FIELD)
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    named = [(name, name, colour) for name, colour in colours.items()]
    # An empty value stands for all others, such as what a person has mistyped.
    for number, (value, label, hexadecimal) in enumerate([*named, ("", "other", _OTHERS)]):
        category = {"value": value, "label": label, "symbol": str(number), "render": "true"}
        SubElement(categories, "category", category)
        symbol = SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        colour = ",".join(map(str, bytes.fromhex(hexadecimal.removeprefix("#"))))
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


def add_style(geopackage: bytes, layer: str, qml: str) -> bytes:
    """Return a GeoPackage with a style by which QGIS shows a layer at first."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(geopackage)
        with database:
            database.execute(_CREATE)
            database.execute(_DECLARE)
            database.execute(_INSERT, (qml, layer))
        return database.serialize()


def _style() -> Element:
    return Element("qgis", version="3.16.0", styleCategories="Symbology")


def _drawn(classes: Iterable[LabelClass]) -> list[LabelClass]:
    return [item for item in classes if item.value != BACKGROUND]


def _text(root: Element) -> str:
    indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root, encoding="unicode") + "\n"
