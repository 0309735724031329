"""A layer definition of QGIS (.qlr) that opens the tiles of a scene at their addresses (XYZ)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # written, never read  # nosec B405

# QGIS finds a CRS in its database by the first; by the last alone it makes one that transforms nothing.
_TILES_CRS: Final = (("srsid", "3857"), ("srid", "3857"), ("authid", "EPSG:3857"))


@dataclass(frozen=True)
class TileLayer:
    """A layer of tiles.

    Attributes:
        title: What people read.
        address: Of its tiles, with {z}, {x} and {y}.
        visible: Whether it is shown at first.
    """

    title: str
    address: str
    visible: bool = False


def layer_definition(group: str, layers: Sequence[TileLayer], deepest_zoom: int) -> str:
    """Return the layer definition of a group of layers, the first on top.

    Args:
        group: Name of the group.
        layers: The layers.
        deepest_zoom: Zoom from which on a tile shows nothing more.
    """
    root = Element("qlr")
    tree = SubElement(root, "layer-tree-group", name=group, checked="Qt::Checked", expanded="1")
    SubElement(tree, "customproperties")
    every = SubElement(root, "maplayers")
    for number, layer in enumerate(layers):
        identifier = f"glacier_al_{number}"
        source = f"type=xyz&url={quote(layer.address, safe='')}&zmin=0&zmax={deepest_zoom}"
        checked = "Qt::Checked" if layer.visible else "Qt::Unchecked"
        SubElement(
            tree,
            "layer-tree-layer",
            {"id": identifier, "name": layer.title, "checked": checked, "expanded": "0", "providerKey": "wms"},
        )
        described = SubElement(every, "maplayer", type="raster")
        for tag, text in (("id", identifier), ("datasource", source), ("layername", layer.title), ("provider", "wms")):
            SubElement(described, tag).text = text
        system = SubElement(SubElement(described, "srs"), "spatialrefsys")
        for tag, text in _TILES_CRS:
            SubElement(system, tag).text = text
        pipe = SubElement(described, "pipe")
        SubElement(pipe, "rasterrenderer", type="singlebandcolordata", band="1", opacity="1")
    indent(root)
    return "<!DOCTYPE qgis-layer-definition>\n" + tostring(root, encoding="unicode") + "\n"
