import pytest

from imagery.classes import ANNOTATED, CLASSES, LEGEND, by_name


def test_a_predicted_class_has_its_index_as_value() -> None:
    assert [entry.value for entry in CLASSES] == [0, 1, 2]
    assert [entry.name for entry in CLASSES] == ["background", "clean ice", "debris-covered ice"]


def test_annotators_draw_everything_but_background() -> None:
    assert {entry.name for entry in LEGEND} - {entry.name for entry in ANNOTATED} == {"background"}


def test_names_values_and_colours_are_distinct() -> None:
    for attribute in ("name", "value", "colour"):
        assert len({getattr(entry, attribute) for entry in LEGEND}) == len(LEGEND)


def test_by_name_finds_the_class_and_its_colour() -> None:
    assert by_name("masked/unknown").value == 255
    assert by_name("clean ice").rgb == (0x38, 0xBD, 0xF8)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'snow'; expected one of 'background', 'clean ice'"):
        by_name("snow")
