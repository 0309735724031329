import pytest

from imagery.errors import ExportError
from imagery.glims import LineType, distinct_ids, glacier_id, map_classes, place_of


@pytest.mark.parametrize(
    ("longitude", "latitude", "identifier"),
    [
        (86.9294, 27.9751, "G086929E27975N"),
        (-73.5, -46.6, "G286500E46600S"),
        (-0.0004, 0.0, "G000000E00000N"),
        (359.9996, 90.0, "G000000E90000N"),
    ],
)
def test_identifiers_hold_thousandths_of_a_degree_eastward(longitude: float, latitude: float, identifier: str) -> None:
    assert glacier_id(longitude, latitude) == identifier
    place = place_of(identifier)
    assert place is not None
    assert (place[0] - longitude + 180) % 360 - 180 == pytest.approx(0, abs=6e-4)
    assert place[1] == pytest.approx(latitude, abs=6e-4)


@pytest.mark.parametrize(
    "text", ["", "G086929E27975", "G360000E00000N", "G000000E90001N", "g086929E27975N", "RGI60-15.1"]
)
def test_other_texts_are_no_identifiers(text: str) -> None:
    assert place_of(text) is None


def test_glaciers_at_one_place_get_neighbouring_identifiers() -> None:
    found = distinct_ids([(86.9, 27.9)] * 10, [None] * 10)
    assert found[0] == "G086900E27900N"
    assert len(set(found)) == 10
    assert all(
        abs(place[0] - 86.9) < 0.0025 and abs(place[1] - 27.9) < 0.0025 for place in map(place_of, found) if place
    )


def test_glaciers_keep_known_identifiers_of_the_published_form_once() -> None:
    here, known = (86.9, 27.9), "G087000E28000N"
    assert distinct_ids([here] * 4, [None, known, known, "17"]) == [
        *("G086900E27900N", known, "G086899E27899N", "G086899E27900N")
    ]
    assert distinct_ids([here, here], [None, "G086900E27900N"])[1] == "G086900E27900N"


def test_line_types_follow_from_the_names_of_classes() -> None:
    names = ["clean ice", "debris-covered ice", "supraglacial lake", "proglacial lake", "glacier"]
    assert list(map_classes(names, {}).line_types.values()) == [
        *(LineType.GLACIER, LineType.DEBRIS, LineType.SUPRAGLACIAL_LAKE, LineType.PROGLACIAL_LAKE, LineType.GLACIER)
    ]
    assert map_classes(names, {}).codes(["background", "glacier"]) == [0, 1]
    assert map_classes(["ice", "rock"], {"rock": "none"}).codes(["background", "ice", "rock"]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("names", "stated", "message"),
    [
        (["forest", "ice"], {}, "found the class 'forest', whose name does not say what it is on a glacier"),
        (["ice"], {"snow": "glac_bound"}, "found a line type for the class 'snow'; expected one of ice"),
        (["ice"], {"ice": "intrnl_rock"}, "found the line type 'intrnl_rock' for 'ice'"),
        (["ice"], {"ice": "none"}, "found no class of glacier ice"),
    ],
)
def test_classes_that_say_nothing_of_glaciers_are_never_guessed(
    names: list[str], stated: dict[str, str], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        map_classes(names, stated)
