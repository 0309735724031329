import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter.brush import encode_rle

from labeling.errors import RegionError
from labeling.regions import BrushRegion, PolygonRegion, decode_result, encode_brush, encode_polygon, skip_reason
from tests.labeling.payloads import click

LABELS = ["clean ice", "debris-covered ice", "unknown"]
HEIGHT, WIDTH = 6, 9


def a_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:4, 2:7] = True
    mask[2, 4] = False  # a hole
    return mask


def a_brush(**changes) -> dict:
    return {**encode_brush(a_mask(), "clean ice", "b1"), **changes}


def a_polygon(**value) -> dict:
    region = encode_polygon(np.array([[0, 0], [9, 0], [9, 6.0]]), "unknown", HEIGHT, WIDTH, "p1")
    return {**region, "value": {**region["value"], **value}}


def decode(*regions: object) -> list:
    return decode_result(list(regions), height=HEIGHT, width=WIDTH, labels=LABELS)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)).filter(np.any))
def test_masks_survive_the_round_trip_exactly(mask):
    region = json.loads(json.dumps(encode_brush(mask, "clean ice", "b1")))
    height, width = mask.shape
    (decoded,) = decode_result([region], height=height, width=width, labels=LABELS)
    assert isinstance(decoded, BrushRegion)
    assert decoded.label == "clean ice"
    assert decoded.mask.dtype == bool
    assert np.array_equal(decoded.mask, mask)


@given(st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=3, max_size=12, unique=True))
def test_polygons_survive_the_round_trip(points):
    region = json.loads(json.dumps(encode_polygon(np.array(points), "unknown", HEIGHT, WIDTH, "p1")))
    (decoded,) = decode(region)
    assert isinstance(decoded, PolygonRegion)
    assert decoded.label == "unknown"
    np.testing.assert_allclose(decoded.rings_px, points, atol=1e-9)


def test_a_polygon_is_in_percent_of_width_and_height():
    square = np.array([[0.0, 0.0], [4.5, 0.0], [4.5, 3.0], [0.0, 3.0], [0.0, 0.0]])
    region = encode_polygon(square, "unknown", HEIGHT, WIDTH, "p1")
    assert region["value"]["points"] == [[0, 0], [50, 0], [50, 50], [0, 50]]
    assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)


def test_regions_come_in_drawing_order():
    decoded = decode(a_brush(), a_polygon(), a_brush(id="b2"))
    assert [type(region) for region in decoded] == [BrushRegion, PolygonRegion, BrushRegion]


def test_a_soft_edge_belongs_to_the_stroke_from_half_a_pixel_on():
    rgba = np.zeros((1, 4, 4), np.uint8)
    rgba[0, :, 3] = [0, 127, 128, 255]
    region = encode_brush(np.ones((1, 4), bool), "clean ice", "b1")
    region["value"]["rle"] = encode_rle(rgba.ravel())
    (decoded,) = decode_result([region], height=1, width=4, labels=LABELS)
    assert decoded.mask.tolist() == [[False, False, True, True]]


def test_colour_channels_do_not_matter():
    rgba = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    rgba[..., 3] = 0
    region = a_brush()
    region["value"]["rle"] = encode_rle(rgba.ravel())
    assert not decode(region)[0].mask.any()  # erased altogether: an empty region, not an error


def test_an_empty_result_is_a_legal_statement():
    assert decode() == []


def test_hundreds_of_regions_are_read():
    assert len(decode(*(a_polygon() for _ in range(1000)))) == 1000


def test_relations_between_regions_carry_no_pixels():
    relation = {"type": "relation", "from_id": "b1", "to_id": "p1", "direction": "right"}
    assert len(decode(a_brush(), relation, a_polygon())) == 2


def test_what_the_page_adds_to_a_region_is_no_obstacle():
    assert len(decode(a_brush(origin="prediction-changed", meta={"text": ["?"]}, score=0.5))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "choices"}, "type is 'choices'; expected one of"),
        ({"type": "brush"}, "drawn without a label"),
        ({"type": ["brushlabels"]}, "expected one of"),
        ({"type": None}, "type is None"),
        ({"from_name": "poly"}, "from_name is 'poly'; expected 'brush'"),
        ({"to_name": "false_colour"}, "to_name is 'false_colour'; expected 'img'"),
        ({"original_width": 6}, "original_width is 6; expected 9"),
        ({"original_height": None}, "original_height is None; expected 6"),
        ({"image_rotation": 90}, "turned by 90 degrees"),
        ({"value": None}, "value is NoneType; expected an object"),
        ({"value": {}}, "labels are None; expected exactly one"),
        ({"value": {"brushlabels": ["clean ice", "unknown"]}}, "expected exactly one of"),
        ({"value": {"brushlabels": ["snow"]}}, "label is 'snow'; expected one of .*'clean ice'"),
        ({"value": {"brushlabels": [7]}}, "label is 7"),
        ({"value": {"brushlabels": ["unknown"], "format": "png"}}, "format is 'png'; expected 'rle'"),
        ({"value": {"brushlabels": ["unknown"], "format": "rle", "rle": [1, 2]}}, "was cut off"),
    ],
)
def test_unreadable_brush_regions_are_named(change, message):
    with pytest.raises(RegionError, match=rf"Region 2 of 2 \(id 'b1'\): .*{message}"):
        decode(a_polygon(), a_brush(**change))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"points": [[1, 1], [2, 2]]}, "shape \\(2, 2\\); expected \\(n, 2\\) with 3"),
        ({"points": []}, "shape \\(0, 2\\)"),
        ({"points": "1,1"}, "malformed"),
        ({"points": [[1, 1], [2, 2], [3]]}, "malformed"),
        ({"points": [[1, 1], [2, 2], [3, "4"]]}, "malformed"),
        ({"points": [[1, 1], [2, 2], [3, float("nan")]]}, "malformed"),
        ({"points": [[1, 1], [2, 2], [3, 10**400]]}, "malformed"),
        ({"points": [[1, 1], [2, 2], [3, 250]]}, "farther outside"),
        ({"closed": False}, "not closed"),
        ({"holes": [[[1, 1], [2, 1], [2, 2]]]}, "draws filled"),
    ],
)
def test_unreadable_polygons_are_named(value, message):
    with pytest.raises(RegionError, match=message):
        decode(a_polygon(**value))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "result is dict; expected a list"),
        (["region"], "Region 1 is str; expected an object"),
        ([{}] * 20_001, "20001 regions; at most 20000"),
    ],
)
def test_unreadable_results_are_refused(result, message):
    with pytest.raises(RegionError, match=message):
        decode_result(result, height=HEIGHT, width=WIDTH, labels=LABELS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([a_brush(), a_polygon()]), st.data(), json_values)
def test_any_member_may_be_nonsense_without_another_error(region, data, nonsense):
    region = json.loads(json.dumps(region))
    holder = data.draw(st.sampled_from([region, region["value"]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = nonsense
    try:
        decode(region)
    except RegionError:
        return


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2), bool), "has no pixel"),
        (np.ones((2, 2), np.uint8), "uint8 .*expected bool"),
        (np.ones((1, 2, 2), bool), "expected bool \\(height, width\\)"),
    ],
)
def test_masks_that_cannot_be_drawn_are_not_encoded(mask, message):
    with pytest.raises(RegionError, match=message):
        encode_brush(mask, "clean ice", "b1")


@pytest.mark.parametrize(
    "points",
    [np.zeros((2, 2)), np.zeros(6), np.zeros((3, 3)), np.array([[0, 0], [1, 0], [np.nan, 1]]), np.zeros((0, 2))],
)
def test_polygons_that_cannot_be_drawn_are_not_encoded(points):
    with pytest.raises(RegionError, match="its points"):
        encode_polygon(points, "unknown", HEIGHT, WIDTH, "p1")


def test_a_click_whose_suggestion_was_not_accepted_is_refused():
    """Its mask is lost: the annotation would be what the annotator wanted to change."""
    with pytest.raises(RegionError, match=r"\(id '5Q7EHWS-Fh'\): it is a click of 'click' whose suggestion was not"):
        decode(a_brush(), click("clean ice", 10, 10, 64))


def test_the_repetition_of_an_accepted_suggestion_is_passed_over():
    value = {**a_brush()["value"], "keypointlabels": ["clean ice"]}
    echo = {**a_brush(id="b2"), "type": "keypointlabels", "from_name": "click", "value": value}
    (only,) = decode(a_brush(), echo)
    assert np.array_equal(only.mask, a_mask())


def test_a_region_that_replaces_another_may_be_empty():
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    (decoded,) = decode(encode_brush(nothing, "clean ice", "b1", may_be_empty=True))
    assert not decoded.mask.any()
    with pytest.raises(RegionError, match="no pixel"):
        encode_brush(nothing, "clean ice", "b1")


def why(*chosen: object) -> dict[str, object]:
    return {"id": "c", "type": "choices", "from_name": "why", "to_name": "img", "value": {"choices": list(chosen)}}


def test_the_reason_for_a_skip_is_read_and_carries_no_pixels():
    assert skip_reason([why("I cannot tell")]) == "I cannot tell"
    assert decode_result([why("I cannot tell")], height=4, width=6, labels=["ice"]) == []


@pytest.mark.parametrize(
    "result", [[], [why()], [why("a", "b")], [why(3)], [why("no reason of ours")], ["?"], [{**why("a"), "value": None}]]
)
def test_what_is_no_reason_of_ours_is_none(result):
    assert skip_reason(result) is None


def test_other_choices_are_refused_like_any_unknown_region():
    with pytest.raises(RegionError, match="its type is 'choices'"):
        decode_result([{**why("I cannot tell"), "from_name": "else"}], height=4, width=6, labels=["ice"])


@pytest.mark.parametrize("name", ["id", "type", "from_name", "original_width", "image_rotation"])
@pytest.mark.parametrize("found", ["a" * 10**6, [["a" * 1000] * 1000] * 10, {"a" * 10**6: 1}])
def test_what_was_found_is_shown_in_short(name: str, found: object) -> None:
    region = encode_polygon(np.array([[0, 0], [9, 0], [9, 6.0]]), "unknown", HEIGHT, WIDTH, "p1")
    region |= {"to_name": "nothing"} if name == "id" else {}
    region[name] = found
    with pytest.raises(RegionError) as caught:
        decode_result([region], height=HEIGHT, width=WIDTH, labels=LABELS)
    assert len(str(caught.value)) < 1000
