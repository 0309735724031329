"""The labelling page: what an annotator sees and draws with."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET  # writes XML only  # nosec B405

IMAGE = "img"
"""Name of the only image that is drawn on; every region's ``to_name``."""
BRUSH = "brush"
"""Name of the brush control; the ``from_name`` of masks."""
POLYGON = "poly"
"""Name of the polygon control; the ``from_name`` of outlines."""
CLICK = "click"
"""Name of the control for clicks that mend the proposal; the ``from_name`` of keypoints."""

_VALUES = {IMAGE: "$true_colour", "false_colour": "$false_colour", "uncertainty": "$uncertainty"}

# Label Studio enlarges an image to the width of its column, then takes room for the tools from that width and cuts
# the image's borders off: up to four pixels on each side of a patch of 64 could be neither seen nor painted. Sizes of
# our own, in columns that have the room for the tools besides, show every pixel.
_DRAWN_ON_PX = 600
_READ_PX = 280
_TOOLS_PX = 50

_HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def label_config(colours: Mapping[str, str], clicked: Mapping[str, str] | None = None) -> str:
    """Write the labelling configuration: a large view to draw on, two smaller ones beside it, a brush and a polygon.

    The true-colour view is the only one drawn on: Label Studio ties a region to one image and does not
    synchronise zoom between images, so the false-colour and uncertainty views are there to be read. It is large,
    so that a single pixel of a small patch can be painted; every view shows its patch to the very edge.
    Smoothing is off, for on patches as small as 64 pixels an interpolated view hides which pixel is which.

    Every ``$name`` in it must be a key of a task's data (`labeling.tasks.TaskData`), or import is refused.

    Args:
        colours: Label to colour (``#rrggbb``), in the order of the tool bar and the hotkeys.
        clicked: Likewise for the clicks that mend the proposal, background included; None leaves them out.

    Returns:
        XML, ready for a project's ``label_config``.

    Raises:
        ValueError: If there are no labels or a colour is not ``#rrggbb``.
    """
    if not colours:
        raise ValueError("No labels to draw with; expected at least one label and its colour.")
    for label, colour in [*colours.items(), *(clicked or {}).items()]:
        if not _HEX_COLOUR.fullmatch(colour):
            raise ValueError(f"Colour of label {label!r} is {colour!r}; expected #rrggbb.")
    page = ET.Element("View")
    ET.SubElement(page, "Header", value="$reason", size="5")
    ET.SubElement(page, "Header", value="$place", size="6")
    tools = ET.SubElement(page, "View", style="display:flex;flex-wrap:wrap;gap:8px 24px;align-items:center")
    # "smart" is true unless it is denied: with clicks, a brush that asks nobody would be the first of the smart tools.
    mended = {} if clicked is None else {"smart": "false"}
    _add_tool(tools, "Brush", "BrushLabels", BRUSH, colours, **mended)
    _add_tool(tools, "Polygon", "PolygonLabels", POLYGON, colours)
    if clicked is not None:
        # Without the key, a click on something painted selects it.
        _add_tool(tools, "Mend: Ctrl + click", "KeyPointLabels", CLICK, clicked, smart="true", smartOnly="true")
    row = ET.SubElement(page, "View", style="display:flex;flex-wrap:wrap;gap:8px")
    _add_views(row, _DRAWN_ON_PX, {IMAGE: "True colour (draw here)"})
    _add_views(row, _READ_PX, {"false_colour": "False colour", "uncertainty": "Uncertainty of the model"})
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


def _add_tool(
    tools: ET.Element, title: str, kind: str, name: str, colours: Mapping[str, str], **attributes: str
) -> None:
    """Add a control with its labels."""
    tool = ET.SubElement(tools, "View", style="display:flex;gap:8px;align-items:center")
    ET.SubElement(tool, "Header", value=title, size="6")
    control = ET.SubElement(tool, kind, {"name": name, "toName": IMAGE, **attributes})
    for label, colour in colours.items():
        ET.SubElement(control, "Label", value=label, background=colour)


def _add_views(row: ET.Element, size_px: int, titles: Mapping[str, str]) -> None:
    """Add a column of views, one below the other."""
    column = ET.SubElement(row, "View", style=f"flex:none;width:{size_px + _TOOLS_PX}px")
    for name, title in titles.items():
        ET.SubElement(column, "Header", value=title, size="6")
        ET.SubElement(
            column,
            "Image",
            name=name,
            value=_VALUES[name],
            width=f"{size_px}px",
            maxWidth=f"{size_px}px",
            zoom="true",
            zoomControl="true",
            brightnessControl="true",
            contrastControl="true",
            smoothing="false",
            crosshair=str(name == IMAGE).lower(),
        )
