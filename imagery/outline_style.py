"""The colours of classes as QGIS stores the style of a layer (QML), so that outlines open as the map shows them."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring  # it only writes  # nosec B405

from imagery.vectors import CLASS_FIELD

Colours = Mapping[str, str]
"""Colour ("#rrggbb") by name of the class."""

_TABLE: Final = "layer_styles"
# The columns that QGIS creates (QgsOgrProviderUtils) and reads.
_CREATE: Final = f"""CREATE TABLE {_TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT, f_table_schema TEXT, f_table_name TEXT,
    f_geometry_column TEXT, styleName TEXT, styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT, ui TEXT, update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"""
_FILL_ALPHA: Final = 38  # of 255, as on our map: the ice stays visible


def outline_qml(colours: Colours) -> str:
    """Return a QGIS style that draws the outlines of each class in its colour, over a faint fill."""
    style = Element("qgis", styleCategories="Symbology", version="3.22")
    renderer = SubElement(style, "renderer-v2", type="categorizedSymbol", attr=CLASS_FIELD, forceraster="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, (name, colour) in enumerate(colours.items()):
        SubElement(categories, "category", value=name, label=name, symbol=str(number), render="true", type="string")
        symbol = SubElement(symbols, "symbol", name=str(number), type="fill", alpha="1", clip_to_extent="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
        options = SubElement(layer, "Option", type="Map")
        rgb = ",".join(map(str, bytes.fromhex(colour.removeprefix("#"))))
        for key, value in {
            "color": f"{rgb},{_FILL_ALPHA}",
            "outline_color": f"{rgb},255",
            "outline_style": "solid",
            "outline_width": "0.4",
            "outline_width_unit": "MM",
            "style": "solid",
        }.items():
            SubElement(options, "Option", name=key, value=value, type="QString")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(style, encoding="unicode")


def add_style(geopackage: bytes, layer: str, colours: Colours) -> bytes:
    """Return a GeoPackage with a style for a layer, which QGIS applies when it opens the layer."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(geopackage)
        geometry = "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?"
        (column,) = database.execute(geometry, (layer,)).fetchone()
        database.execute(_CREATE)
        database.execute(
            f"INSERT INTO {_TABLE} (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "  # noqa: S608 - a constant
            "styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, 'classes', ?, '', 1, ?, '')",
            (layer, column, outline_qml(colours), "the colours of the classes"),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES (?, 'attributes', ?)",
            (_TABLE, _TABLE),
        )
        database.commit()
        return database.serialize()
