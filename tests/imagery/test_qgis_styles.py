"""Styles of QGIS: what they say, and that a GeoPackage that holds one is read as before."""

import sqlite3
from pathlib import Path

import pyogrio
from defusedxml.ElementTree import fromstring

from imagery.classes import GLACIER_SCHEME
from imagery.geopackage import check_geopackage
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_gpkg
from imagery.qgis_styles import classes_qml, outlines_qml
from imagery.vector_files import open_vector
from tests.imagery.forge import forge_scene
from tests.land_cover import LAND_COVER

COLOURS = GLACIER_SCHEME.colours_of(GLACIER_SCHEME.names)


def test_outlines_have_the_colours_of_their_classes_and_one_for_all_others() -> None:
    root = fromstring(outlines_qml(LAND_COVER.colours_of(LAND_COVER.names)))
    renderer = root.find("renderer-v2")
    assert renderer.attrib == {"type": "categorizedSymbol", "attr": "class"}
    assert [item.get("value") for item in renderer.iter("category")] == ["snow", "water", ""]
    lines = [item.get("value") for item in renderer.iter("Option") if item.get("name") == "outline_color"]
    assert lines == ["240,240,255,255", "29,78,216,255", "107,114,128,255"]


def test_class_maps_have_the_values_and_colours_of_their_classes() -> None:
    entries = fromstring(classes_qml(GLACIER_SCHEME.classes)).iter("paletteEntry")
    found = [(item.get("value"), item.get("color"), item.get("label")) for item in entries]
    assert found == [(str(item.value), item.colour, item.name) for item in GLACIER_SCHEME.classes[1:]]


def test_a_geopackage_with_a_style_has_one_layer_and_is_read(tmp_path: Path) -> None:
    forged = forge_scene(tmp_path / "scene.tif")
    path = tmp_path / "outlines.gpkg"
    table = tabulate(forged.truth, forged.grid, GLACIER_SCHEME.names)
    path.write_bytes(write_outlines_gpkg(table, "glacier_outlines", COLOURS))
    check_geopackage(str(path))
    with open_vector(str(path)) as file:
        assert file.layers() == ["glacier_outlines"]
    assert {name for name, _ in pyogrio.list_layers(path)} == {"glacier_outlines", "layer_styles"}
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles")
        assert rows.fetchall() == [("glacier_outlines", "geom", 1, outlines_qml(COLOURS))]
