"""The labelling page: what an annotator sees and draws with."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

IMAGE = "img"
"""Name of the only image that is drawn on; every region's ``to_name``."""
BRUSH = "brush"
"""Name of the brush control; the ``from_name`` of masks."""
POLYGON = "poly"
"""Name of the polygon control; the ``from_name`` of outlines."""

_HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def label_config(colours: Mapping[str, str]) -> str:
    """Write the labelling configuration: three views side by side, a brush and a polygon tool.

    The true-colour view is the only one drawn on: Label Studio ties a region to one image and does not
    synchronise zoom between images, so the false-colour and uncertainty views are there to be read.
    Smoothing is off, for on patches as small as 64 pixels an interpolated view hides which pixel is which.

    Every ``$name`` in it must be a key of a task's data (`labeling.tasks.TaskData`), or import is refused.

    Args:
        colours: Label to colour (``#rrggbb``), in the order of the tool bar and the hotkeys.

    Returns:
        XML, ready for a project's ``label_config``.

    Raises:
        ValueError: If there are no labels or a colour is not ``#rrggbb``.
    """
    if not colours:
        raise ValueError("No labels to draw with; expected at least one label and its colour.")
    for label, colour in colours.items():
        if not _HEX_COLOUR.fullmatch(colour):
            raise ValueError(f"Colour of label {label!r} is {colour!r}; expected #rrggbb.")
    page = ET.Element("View")
    ET.SubElement(page, "Header", value="$reason", size="5")
    ET.SubElement(page, "Header", value="$place", size="6")
    tools = ET.SubElement(page, "View", style="display:flex;flex-wrap:wrap;gap:8px 24px;align-items:center")
    for title, name, kind in (("Brush", BRUSH, "BrushLabels"), ("Polygon", POLYGON, "PolygonLabels")):
        tool = ET.SubElement(tools, "View", style="display:flex;gap:8px;align-items:center")
        ET.SubElement(tool, "Header", value=title, size="6")
        control = ET.SubElement(tool, kind, name=name, toName=IMAGE)
        for label, colour in colours.items():
            ET.SubElement(control, "Label", value=label, background=colour)
    row = ET.SubElement(page, "View", style="display:flex;gap:8px")
    _add_view(row, "True colour (draw here)", IMAGE, "$true_colour", crosshair=True)
    _add_view(row, "False colour", "false_colour", "$false_colour")
    _add_view(row, "Uncertainty of the model", "uncertainty", "$uncertainty")
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


def _add_view(row: ET.Element, title: str, name: str, value: str, *, crosshair: bool = False) -> None:
    column = ET.SubElement(row, "View", style="flex:1;min-width:0")
    ET.SubElement(column, "Header", value=title, size="6")
    ET.SubElement(
        column,
        "Image",
        name=name,
        value=value,
        zoom="true",
        zoomControl="true",
        brightnessControl="true",
        contrastControl="true",
        smoothing="false",
        crosshair=str(crosshair).lower(),
    )
