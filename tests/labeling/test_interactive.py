import json

import pytest

from labeling.errors import EventError, RegionError
from labeling.interactive import MAX_CLICKS, Click, parse_request, read_clicks
from tests.labeling.payloads import body, click, click_request, regions

LABELS = {"background": 0, "clean ice": 1}


def read(*items: object, height: int = 64, width: int = 64) -> list[Click]:
    return read_clicks(list(items), height=height, width=width, labels=LABELS)


def test_a_click_is_read_with_the_pixel_that_it_hits():
    """21.4 % of 64 pixels is 13.7, within pixel 13; 40.5 % is 25.9."""
    request = parse_request(body(click_request("uid", 21.405049396267835, 40.50493962678376, "clean ice", 64)))
    assert request.proposal == "uid"
    assert read(*request.regions) == [Click("5Q7EHWS-Fh", "clean ice", 25, 13)]


def test_the_far_edge_hits_the_last_pixel():
    (found,) = read(click("background", 100.0, 100, 64))
    assert (found.row, found.column) == (63, 63)


@pytest.mark.parametrize("parameters", [None, {}, {"context": None}, {"context": {}}, {"context": {"result": []}}])
def test_a_call_that_no_annotator_caused_has_no_clicks(parameters):
    """Label Studio collects predictions so, also for several tasks."""
    request = click_request("uid", 1, 1, "clean ice", 64) | {"params": parameters}
    request["tasks"] *= 2
    assert parse_request(body(request)).regions == []


def changed(**changes: object) -> dict:
    return {**click("clean ice", 1, 1, 64), **changes}


def placed(**changes: object) -> dict:
    item = click("clean ice", 1, 1, 64)
    return {**item, "value": {**item["value"], **changes}}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("click", "is str; expected an object"),
        (changed(original_width=512), r"'original_width': 512.*'original_width': 64"),
        (changed(type="rectanglelabels"), "rectanglelabels"),
        (changed(from_name="brush"), "'from_name': 'brush'"),
        (changed(to_name="false_colour"), "'to_name'"),
        (changed(id=None), "no usable id"),
        (changed(id="x" * 101), "no usable id"),
        (changed(value=[1]), "no value"),
        (placed(keypointlabels=["penguin"]), "penguin"),
        (placed(keypointlabels=["clean ice", "background"]), "exactly one"),
        (placed(keypointlabels=[["clean ice"]]), "exactly one"),
        (placed(x=100.1), "100.1 percent"),
        (placed(y=-1), "-1 percent"),
        (placed(y=True), "True percent"),
        (placed(x=None), "None percent"),
        (placed(x=10**400), "percent"),
    ],
)
def test_what_is_no_click_of_ours_is_refused(item, message):
    with pytest.raises(RegionError, match=message):
        read(item)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_position_that_is_no_number_is_refused(value):
    with pytest.raises(RegionError, match="percent"):
        read(placed(x=json.loads(value)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 1_000_001, "holds 1000001 lists and objects; at most 1000000"),
        (b"[]", "no list of tasks"),
        (b'{"tasks": []}', "no list of tasks"),
    ],
)
def test_what_label_studio_does_not_send_is_refused(content, message):
    with pytest.raises(EventError, match=message):
        parse_request(content)


def test_clicks_are_on_one_task_of_ours_and_not_too_many():
    request = click_request("uid", 1, 1, "clean ice", 64)
    with pytest.raises(EventError, match="has 2 tasks; expected one"):
        parse_request(body(request | {"tasks": request["tasks"] * 2}))
    with pytest.raises(EventError, match="'proposal'"):
        parse_request(body(request | {"tasks": [{"data": {}}]}))
    request["params"]["context"]["result"] *= MAX_CLICKS + 1
    with pytest.raises(EventError, match="more than 500"):
        parse_request(body(request))


@pytest.mark.parametrize("predictions", [5, "text", {"result": 5}, [{"result": 5}]])
def test_predictions_of_another_kind_hold_no_polygons(predictions):
    request = click_request("uid", 1, 1, "clean ice", 64)
    request["tasks"][0]["predictions"] = predictions
    assert parse_request(body(request)).proposal == "uid"


def test_polygons_are_not_mended_because_masks_would_take_their_ids():
    brush, polygon = regions()
    request = click_request("uid", 1, 1, "clean ice", 64)
    request["tasks"][0]["predictions"] = [{"result": [brush]}]
    assert parse_request(body(request)).regions
    request["tasks"][0]["predictions"] = [{"result": [brush, polygon]}]
    with pytest.raises(EventError, match="polygons"):
        parse_request(body(request))


def test_polygons_of_an_earlier_prediction_forbid_no_clicks():
    brush, polygon = regions()
    earlier, newest = {"id": 9, "result": [polygon]}, {"id": 10, "result": [brush]}
    request = click_request("uid", 1, 1, "clean ice", 64)
    for predictions in ([earlier, newest], [newest, earlier]):
        request["tasks"][0]["predictions"] = predictions
        assert parse_request(body(request)).regions
