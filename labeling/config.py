"""The labelling page: what an annotator sees and draws with."""

import re
from collections.abc import Mapping
from importlib.resources import files
from xml.etree import ElementTree as ET  # writes XML only  # nosec B405

IMAGE = "img"
"""Name of the only image that is drawn on; every region's ``to_name``."""
BRUSH = "brush"
"""Name of the brush control; the ``from_name`` of masks."""
POLYGON = "poly"
"""Name of the polygon control; the ``from_name`` of outlines."""
CLICK = "click"
"""Name of the control for clicks that mend the proposal; the ``from_name`` of keypoints."""
SKIP_REASON = "why"
"""Name of the choices of why a patch is skipped."""
SKIP_REASONS = (
    "cloud, haze or smoke",
    "fresh snow hides the edges",
    "too dark: deep shadow",
    "the picture is faulty",
    "I cannot tell",
)

_SMALL = "font-size:13px;font-weight:600;margin:0"
_HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def label_config(colours: Mapping[str, str], clicked: Mapping[str, str] | None = None) -> str:
    """Write the labelling configuration: one picture to draw on, and beside it the views that it can show.

    Label Studio ties a region to one image and does not synchronise zoom between images. So there is only one, and the
    panel of views (`labeling.views_panel`) changes what lies beneath the drawing. Smoothing is off, for on patches as
    small as 64 pixels an interpolated view hides which pixel is which.

    Label Studio enlarges an image to the width of its column, then takes room for the tools from that width and cuts
    the image's borders off: up to four pixels on each side of a patch of 64 could be neither seen nor painted. The
    style sheet gives a side that fits into the window, in a column that has the room for the tools besides.

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
    page = ET.Element("View", className="glacier-page")
    ET.SubElement(page, "Style").text = (files("labeling") / "page.css").read_text()
    ET.SubElement(page, "Header", value="$reason", style="font-size:15px;font-weight:600;margin:0")
    ET.SubElement(page, "Header", value="$place", style="font-size:13px;font-weight:400;margin:0")
    tools = ET.SubElement(page, "View", className="glacier-tools")
    # "smart" is true unless it is denied: with clicks, a brush that asks nobody would be the first of the smart tools.
    mended = {} if clicked is None else {"smart": "false"}
    _add_tool(tools, "Brush", "BrushLabels", BRUSH, colours, **mended)
    _add_tool(tools, "Polygon", "PolygonLabels", POLYGON, colours)
    if clicked is not None:
        # Without the key, a click on something painted selects it.
        _add_tool(tools, "Mend: Ctrl + click", "KeyPointLabels", CLICK, clicked, smart="true", smartOnly="true")
    desk = ET.SubElement(page, "View", className="glacier-desk")
    _add_image(ET.SubElement(desk, "View", className="glacier-drawing"))
    beside = ET.SubElement(desk, "View", className="glacier-beside")
    ET.SubElement(beside, "HyperText", name="panel", value="$panel", inline="true", clickableLinks="true")
    ET.SubElement(beside, "Header", value="Before you skip: why?", style=_SMALL)
    choices = ET.SubElement(beside, "Choices", name=SKIP_REASON, toName=IMAGE, choice="single", layout="inline")
    for reason in SKIP_REASONS:
        ET.SubElement(choices, "Choice", value=reason)
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


def _add_tool(
    tools: ET.Element, title: str, kind: str, name: str, colours: Mapping[str, str], **attributes: str
) -> None:
    """Add a control with its labels."""
    tool = ET.SubElement(tools, "View", className="glacier-tool")
    ET.SubElement(tool, "Header", value=title, style=_SMALL)
    control = ET.SubElement(tool, kind, {"name": name, "toName": IMAGE, **attributes})
    for label, colour in colours.items():
        ET.SubElement(control, "Label", value=label, background=colour)


def _add_image(column: ET.Element) -> None:
    ET.SubElement(
        column,
        "Image",
        name=IMAGE,
        value="$true_colour",
        width="var(--glacier-side)",
        maxWidth="var(--glacier-side)",
        maxHeight="none",
        zoom="true",
        zoomControl="true",
        brightnessControl="true",
        contrastControl="true",
        smoothing="false",
        crosshair="true",
    )
