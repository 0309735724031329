from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from imagery.classes import CLEAN_ICE, GLACIER_SCHEME, UNKNOWN, ClassScheme
from labeling.predictions import build_prediction
from labeling.regions import decode_result
from tests.workers.rows import blobs
from workers.label_drawing import draw
from workers.preannotation import clean, drawable, preannotate, regions

LABELS = list(GLACIER_SCHEME.labels)
DRAWN = drawable(GLACIER_SCHEME.names, GLACIER_SCHEME)


def redrawn(result: list, height: int, width: int) -> np.ndarray:
    """What ingestion makes of regions that an annotator submits untouched."""
    return draw(decode_result(result, height=height, width=width, labels=LABELS), height, width, GLACIER_SCHEME)


def ice_only(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == UNKNOWN, 0, mask)


@pytest.mark.parametrize("form", ["brush", "polygon"])
@given(seed=st.integers(0, 10_000), height=st.integers(3, 40), width=st.integers(3, 40))
def test_submitted_untouched_it_is_the_mask_that_was_shown(form, seed, height, width):
    shown = blobs(seed, height, width)
    np.testing.assert_array_equal(redrawn(regions(shown, form, DRAWN), height, width), ice_only(shown))


@pytest.mark.parametrize("form", ["brush", "polygon"])
def test_a_rock_island_stays_rock(form):
    shown = np.zeros((32, 32), np.uint8)
    shown[4:28, 4:28] = CLEAN_ICE.value
    shown[12:13, 15:16] = 0  # a single pixel, so that no cut along pixel edges opens it
    shown[20:24, 8:14] = 2
    np.testing.assert_array_equal(redrawn(regions(shown, form, DRAWN), 32, 32), shown)


@pytest.mark.parametrize("form", ["brush", "polygon"])
@pytest.mark.parametrize("seed", range(3))
def test_label_studio_can_draw_it(form, seed):
    shown = blobs(seed)
    prediction = build_prediction(regions(shown, form, DRAWN), score=0.5, height=32, width=32, labels=LABELS)
    assert {item["type"] for item in prediction["result"]} == {f"{form}labels"}


def test_brush_gives_one_region_a_class():
    shown = np.zeros((32, 32), np.uint8)
    shown[:4, :4] = shown[20:, 20:] = 1
    shown[10:14] = 2
    assert [item["value"]["brushlabels"] for item in regions(shown, "brush", DRAWN)] == [
        ["clean ice"],
        ["debris-covered ice"],
    ]
    assert len(regions(shown, "polygon", DRAWN)) == 3


@pytest.mark.parametrize("form", ["brush", "polygon", "none"])
def test_no_ice_gives_no_region(form):
    assert list(regions(np.zeros((8, 8), np.uint8), form, DRAWN)) == []
    assert list(regions(np.full((8, 8), UNKNOWN, np.uint8), form, DRAWN)) == []


def test_none_gives_none():
    assert list(regions(blobs(0), "none", DRAWN)) == []


def test_specks_are_not_shown():
    classes = np.zeros((16, 16), np.uint8)
    classes[2, 2] = 1
    classes[8:12, 8:12] = 2
    shown = clean(classes)
    assert shown[2, 2] == 0
    assert (shown[8:12, 8:12] == 2).all()


def speckled(side: int = 512) -> np.ndarray:
    """A class map of hundreds of pieces, as an early model predicts."""
    field = gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 2.0)
    return (field > np.quantile(field, 0.7)).astype(np.uint8)


@pytest.mark.parametrize("form", ["brush", "polygon"])
def test_a_speckled_patch_is_pre_annotated_whatever_the_form(form):
    check = partial(build_prediction, score=0.5, height=512, width=512, labels=LABELS)
    drawn = preannotate(speckled(), form, DRAWN, check)
    assert len(drawn.regions) == 1
    assert drawn.note == (
        "" if form == "brush" else "; the pre-annotation is drawn with the brush: too many pieces for polygons"
    )
    np.testing.assert_array_equal(redrawn(list(drawn.regions), 512, 512), drawn.shown)


def test_only_the_classes_to_draw_can_be_drawn():
    """Foreground of a binary head could be any of several classes; with a single one it is that class."""
    assert drawable(GLACIER_SCHEME.names, GLACIER_SCHEME) == {1: "clean ice", 2: "debris-covered ice"}
    assert drawable(("background", "glacier"), GLACIER_SCHEME) == {}
    land = {"name": "land", "value": 0, "colour": "#000000"}
    single = ClassScheme.model_validate({"classes": [land, {"name": "lake", "value": 1, "colour": "#00f000"}]})
    assert drawable(("land", single.foreground), single) == {1: "lake"}


def test_pixels_of_a_value_without_a_label_are_not_drawn():
    shown = np.ones((8, 8), np.uint8)
    assert list(regions(shown, "brush", {})) == list(regions(shown, "polygon", {})) == []
