import pytest

from catalog.settings import Settings
from models.card import Gain
from workers.gate import Verdict, judge


@pytest.fixture
def strict(tmp_path) -> Settings:
    return Settings(var_dir=tmp_path, gate_min_gain=0.01, gate_max_class_drop=0.05)


def gain(mean: float | None, **classes: float | None) -> Gain:
    return Gain(mean_iou=mean, iou={"clean ice": 0.1, **classes})


def test_the_first_version_is_promoted(strict):
    assert judge(None, strict) == Verdict(True, "the first version")


@pytest.mark.parametrize(("mean", "promoted"), [(0.02, True), (0.01, True), (0.0099, False), (-0.3, False)])
def test_the_mean_must_gain_enough(strict, mean, promoted):
    assert judge(gain(mean), strict).promoted is promoted


def test_the_reason_names_both_numbers(strict):
    assert judge(gain(0.004), strict).reason == "mean IoU changed by +0.004, less than +0.010"
    assert judge(gain(0.5), strict).reason == "mean IoU changed by +0.500"


@pytest.mark.parametrize(("drop", "promoted"), [(-0.05, True), (-0.051, False), (None, True)])
def test_no_class_may_be_sacrificed(strict, drop, promoted):
    verdict = judge(gain(0.02, **{"debris-covered ice": drop}), strict)
    assert verdict.promoted is promoted
    if not promoted:
        assert verdict.reason == "IoU of debris-covered ice fell by 0.051, more than 0.050"


def test_an_undefined_mean_promotes_nothing(strict):
    verdict = judge(gain(None), strict)
    assert not verdict.promoted
    assert "undefined" in verdict.reason
