from typing import Any

import pytest
from pydantic import ValidationError

from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, ClassScheme, LabelClass
from tests.land_cover import LAND_COVER, SETTING


def changed(of_class: int, **members: Any) -> dict[str, Any]:
    """The setting of land cover with one class changed."""
    classes = [dict(item) for item in SETTING["classes"]]
    classes[of_class] |= members
    return {**SETTING, "classes": classes}


def test_the_glacier_scheme_is_what_it_was_before_there_were_schemes() -> None:
    assert [(entry.value, entry.name, entry.colour) for entry in GLACIER_SCHEME.legend] == [
        (0, "background", "#1e293b"),
        (1, "clean ice", "#38bdf8"),
        (2, "debris-covered ice", "#f97316"),
        (255, "masked/unknown", "#6b7280"),
    ]
    assert GLACIER_SCHEME.labels == ("clean ice", "debris-covered ice", "masked/unknown")
    assert (GLACIER_SCHEME.ranked, GLACIER_SCHEME.foreground) == ((1, 2), "glacier")
    assert GLACIER_SCHEME.classes[1:] == (CLEAN_ICE, DEBRIS_COVERED_ICE)
    assert GLACIER_SCHEME.outline_layer == "glacier_outlines"


def test_precedence_is_not_the_order_of_values() -> None:
    assert LAND_COVER.names == ("other", "snow", "water")
    assert LAND_COVER.ranked == (2, 1)
    assert LAND_COVER.labels == ("snow", "water", "cloud")
    assert LAND_COVER.outline_layer == "water_or_snow_outlines"


def test_a_scheme_survives_json() -> None:
    assert ClassScheme.model_validate_json(LAND_COVER.model_dump_json()) == LAND_COVER


def test_by_name_finds_the_class_and_its_colour() -> None:
    assert GLACIER_SCHEME.by_name("masked/unknown").value == 255
    assert GLACIER_SCHEME.by_name("clean ice").rgb == (0x38, 0xBD, 0xF8)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'snow'; expected one of 'background', 'clean ice'"):
        GLACIER_SCHEME.by_name("snow")


def test_a_single_class_is_the_foreground() -> None:
    classes = [{"name": "rest", "value": 0, "colour": "#000000"}, {"name": "lake", "value": 1, "colour": "#0000ff"}]
    assert ClassScheme.model_validate({"classes": classes}).foreground == "lake"
    assert ClassScheme.model_validate({"classes": SETTING["classes"]}).foreground == "foreground"


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        (changed(2, value=3), r"class values \[0, 1, 3\]; expected \[0, 1, 2\]"),
        (changed(2, name="Snow"), r"names that occur twice in the classes: \['snow'\]"),
        (changed(2, name="cloud"), "names that occur twice"),
        (changed(2, colour="#F0F0FF"), "colours that occur twice"),
        (changed(2, precedence=9), "precedences that occur twice"),
        (changed(0, precedence=5), "order of precedence water, other, snow, cloud; expected other first"),
        (changed(2, annotated=False), r"\['other', 'water'\] as the classes that nobody draws; expected \['other'\]"),
        (changed(0, annotated=True), r"found \[\] as the classes that nobody draws"),
        (changed(2, colour="blue"), "colour"),
        ({**SETTING, "unknown": {"name": "cloud", "value": 9, "colour": "#aaaaaa"}}, "value 9 for 'cloud'"),
        ({**SETTING, "foreground": "snow"}, "found the name 'snow' for all classes but other together"),
        ({**SETTING, "classes": SETTING["classes"][:1]}, "at least 2 items"),
        ({**SETTING, "labels": []}, "labels"),
    ],
)
def test_what_is_no_scheme_is_refused(setting: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ClassScheme.model_validate(setting)


@pytest.mark.parametrize("name", ["a,b", "a//b", "a/../b", " snow", "snow?", "<b>", "", "x" * 41, "mean"])
def test_a_name_that_mlflow_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        LabelClass(name=name, value=1, colour="#000000", precedence=1, annotated=True)
