import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from models.card import Gain, LabelProvenance, ModelOrigin, RegionMetrics
from models.unet import UNetConfig
from tests.models.cards import CLASSES, origin

MATRIX = np.array([[6, 2, 0], [2, 2, 0], [0, 0, 0]])


def test_metrics_are_named_by_class():
    metrics = RegionMetrics.from_confusion(MATRIX, CLASSES)
    assert metrics.iou == {"background": pytest.approx(0.6), "clean ice": pytest.approx(1 / 3), CLASSES[2]: None}
    assert metrics.confusion == ((6, 2, 0), (2, 2, 0), (0, 0, 0))
    assert metrics.empty_mask_mean_iou == pytest.approx((8 / 12) / 2)


def test_a_card_from_before_the_settings_of_the_papers_is_read_with_the_values_that_were_fixed_then():
    document = json.loads(origin().model_dump_json())
    added = {"plateau_watches": "score", "plateau_patience": 2, "least_learning_rate": 0.0, "l1_covers": "convolutions"}
    added |= {"boundary_classes": "foreground", "augmented_share": 1.0}
    training = {name: value for name, value in document["training"].items() if name not in added}
    assert len(training) == len(document["training"]) - 6
    read = ModelOrigin.model_validate_json(json.dumps(document | {"training": training})).training
    assert {name: getattr(read, name) for name in added} == added
    unet = {"in_channels": 4, "classes": 3, "depth": 2, "width": 4, "dropout": 0.1}
    assert UNetConfig.from_json(unet).initialization == "kaiming"


def test_undefined_figures_are_null_in_valid_json():
    metrics = RegionMetrics.from_confusion(np.zeros((3, 3), dtype=np.int64), CLASSES)
    document = json.loads(metrics.model_dump_json(), parse_constant=pytest.fail)
    assert document["mean_iou"] is None
    assert document["recall"]["clean ice"] is None
    assert RegionMetrics.model_validate(document) == metrics


def test_class_names_must_fit_the_matrix():
    with pytest.raises(ValueError, match="has 3 classes, but 2 are named"):
        RegionMetrics.from_confusion(MATRIX, CLASSES[:2])


def test_gain_is_the_difference_on_the_same_truth():
    parent = RegionMetrics.from_confusion(MATRIX, CLASSES)
    child = RegionMetrics.from_confusion(np.array([[8, 0, 0], [0, 4, 0], [0, 0, 0]]), CLASSES)
    gain = Gain.between(parent, child)
    assert gain.iou == {"background": pytest.approx(0.4), "clean ice": pytest.approx(2 / 3), CLASSES[2]: None}
    assert gain.mean_iou == pytest.approx(1 - (0.6 + 1 / 3) / 2)


def test_a_class_without_true_pixels_does_not_change_the_mean_gain():
    """Two pixels of clean ice, wrong in either version, are mapped as debris by one and as background by the other."""
    champion = RegionMetrics.from_confusion(np.array([[8, 0, 0], [0, 2, 2], [0, 0, 0]]), CLASSES)
    version = RegionMetrics.from_confusion(np.array([[8, 0, 0], [2, 2, 0], [0, 0, 0]]), CLASSES)
    assert Gain.between(champion, version).mean_iou == pytest.approx((8 / 10 - 8 / 8) / 2)
    older = champion.model_copy(update={"mean_iou": (1 + 0.5 + 0) / 3})  # the mean of cards of earlier releases
    assert Gain.between(older, version) == Gain.between(champion, version)


def test_gain_between_different_evaluation_sets_is_refused():
    parent = RegionMetrics.from_confusion(MATRIX, CLASSES)
    child = RegionMetrics.from_confusion(2 * MATRIX, CLASSES)
    with pytest.raises(ValueError, match="score the champion again"):
        Gain.between(parent, child)


def test_origin_survives_json():
    assert ModelOrigin.model_validate_json(origin().model_dump_json()) == origin()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "blue"}, "colour"),
        ({"patch_size_px": 0}, "patch_size_px"),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at"),
        ({"metrics": {"training": {}}}, "metrics"),
        ({"training": {"epochs": 3}}, "epochs"),
    ],
)
def test_origin_is_closed(change, field):
    document = json.loads(origin().model_dump_json()) | change
    with pytest.raises(ValidationError, match=field):
        ModelOrigin.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [{"count": 3}, {"ids": (1, 1)}, {"simulated_count": 3}, {"sha256": "abc"}],
    ids=["wrong count", "repeated id", "more simulated than labels", "no checksum"],
)
def test_label_provenance_must_add_up(change):
    good = {"ids": (4, 9), "count": 2, "simulated_count": 1, "sha256": "0" * 64}
    assert LabelProvenance(**good).count == 2
    with pytest.raises(ValidationError):
        LabelProvenance(**(good | change))


def test_nan_is_taken_as_undefined():
    assert Gain(iou={"clean ice": math.nan}, mean_iou=math.nan) == Gain(iou={"clean ice": None}, mean_iou=None)
