from dataclasses import fields
from xml.etree import ElementTree as ET

import pytest
from label_studio_sdk.label_interface import LabelInterface

from labeling.config import BRUSH, CLICK, IMAGE, POLYGON, SKIP_REASON, SKIP_REASONS, label_config
from labeling.tasks import TaskData

COLOURS = {"clean ice": "#38bdf8", "debris & <rock>": "#f97316"}


def the_page() -> ET.Element:
    return ET.fromstring(label_config(COLOURS))  # noqa: S314 - it is our own


def test_both_tools_offer_every_label_in_order_on_the_one_image():
    page = the_page()
    for name in (BRUSH, POLYGON):
        (control,) = page.findall(f".//*[@name='{name}']")
        assert control.get("toName") == IMAGE
        assert {label.get("value"): label.get("background") for label in control} == COLOURS
        assert [label.get("value") for label in control] == list(COLOURS)
    (image,) = page.findall(f".//Image[@name='{IMAGE}']")
    assert image.get("value") == "$true_colour"


def test_pixels_are_not_smoothed():
    assert {image.get("smoothing") for image in the_page().iter("Image")} == {"false"}


def test_every_variable_is_in_the_task_data():
    page = the_page()
    variables = {tag.get("value", "")[1:] for tag in page.iter() if tag.get("value", "").startswith("$")}
    assert variables == {"true_colour", "panel", "reason", "place"}
    assert variables <= {field.name for field in fields(TaskData)}


def test_the_style_sheet_survives_the_sanitizer_of_label_studio():
    (style,) = the_page().iter("Style")
    assert style.text is not None
    assert not set(style.text) & set("<>&$")  # it reads the sheet as HTML text, and $ as a member of the task's data


def test_the_reasons_to_skip_are_offered_one_at_a_time():
    (choices,) = the_page().iter("Choices")
    assert (choices.get("name"), choices.get("toName"), choices.get("choice")) == (SKIP_REASON, IMAGE, "single")
    assert tuple(choice.get("value") for choice in choices) == SKIP_REASONS


def test_it_passes_the_sdk_s_validation():
    interface = LabelInterface(label_config(COLOURS))
    interface.validate()
    assert interface.get_control(BRUSH).labels == list(COLOURS)


def test_clicks_are_a_smart_control_with_background_and_the_brush_is_not():
    assert the_page().find(f".//*[@name='{CLICK}']") is None
    clicked = {"background": "#ffffff", **COLOURS}
    page = ET.fromstring(label_config(COLOURS, clicked))  # noqa: S314 - it is our own
    (control,) = page.findall(f".//KeyPointLabels[@name='{CLICK}']")
    assert {label.get("value"): label.get("background") for label in control} == clicked
    assert (control.get("toName"), control.get("smart"), control.get("smartOnly")) == (IMAGE, "true", "true")
    (brush,) = page.findall(f".//*[@name='{BRUSH}']")
    assert brush.get("smart") == "false"
    LabelInterface(label_config(COLOURS, clicked)).validate()


@pytest.mark.parametrize(
    ("colours", "message"),
    [({}, "at least one label"), ({"clean ice": "blue"}, "'clean ice' is 'blue'; expected #rrggbb")],
)
def test_unusable_legends_are_refused(colours, message):
    with pytest.raises(ValueError, match=message):
        label_config(colours)
