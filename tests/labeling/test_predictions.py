import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.errors import PredictionError
from labeling.predictions import MAX_PREDICTION_BYTES, build_prediction, score_of
from labeling.regions import encode_brush, encode_polygon

LABELS = ["clean ice", "unknown"]
BRUSH = encode_brush(np.eye(4, 6, dtype=bool), "clean ice", "b1")
POLYGON = encode_polygon(np.array([[0.0, 0], [6, 0], [6, 4]]), "unknown", 4, 6, "p1")


def build(*regions: dict, **changes) -> dict:
    arguments = {"score": 0.25, "height": 4, "width": 6, "labels": LABELS, **changes}
    return build_prediction(regions, **arguments)


def test_a_prediction_is_version_score_and_regions():
    assert build(BRUSH, POLYGON) == {"model_version": "proposal", "score": 0.25, "result": [BRUSH, POLYGON]}


def test_a_prediction_without_regions_is_legal():
    assert build()["result"] == []


@pytest.mark.parametrize(
    ("regions", "changes", "message"),
    [
        ([BRUSH, BRUSH], {}, "distinct"),
        ([BRUSH] * 501, {}, "501 regions; at most 500"),
        ([{**BRUSH, "id": ""}], {}, "non-empty strings"),
        ([{**BRUSH, "id": ["b1"]}], {}, "non-empty strings"),
        ([{key: value for key, value in BRUSH.items() if key != "id"}], {}, "non-empty strings"),
        ([{key: value for key, value in BRUSH.items() if key != "type"}], {}, "type is None"),
        ([BRUSH], {"width": 7}, "original_width is 6; expected 7"),
        ([BRUSH], {"labels": ["snow"]}, "label is 'clean ice'; expected one of \\['snow'\\]"),
        ([BRUSH], {"score": 1.01}, "score is 1.01; expected a number from 0 to 1"),
        ([BRUSH], {"score": float("nan")}, "score is nan"),
    ],
)
def test_predictions_that_label_studio_would_swallow_are_refused(regions, changes, message):
    with pytest.raises(PredictionError, match=message):
        build(*regions, **changes)


def test_an_oversized_prediction_is_refused():
    corners = np.random.default_rng(0).uniform(0, 4, (20_000, 2))
    regions = [encode_polygon(corners, "unknown", 4, 6, f"p{i}") for i in range(11)]
    with pytest.raises(PredictionError, match=f"at most {MAX_PREDICTION_BYTES}"):
        build(*regions)


def test_scores_of_known_priorities():
    assert [score_of(priority) for priority in (0, 1, 3)] == [1.0, 0.5, 0.25]


@given(st.lists(st.integers(0, 10**6).map(lambda n: n / 1000), unique=True))
def test_the_lowest_score_is_the_highest_priority(priorities):
    assert sorted(priorities, key=score_of) == sorted(priorities, reverse=True)


@pytest.mark.parametrize("priority", [-0.1, float("nan"), float("inf")])
def test_priorities_without_a_place_in_the_queue_are_refused(priority):
    with pytest.raises(PredictionError, match="expected a finite number of 0 or more"):
        score_of(priority)
