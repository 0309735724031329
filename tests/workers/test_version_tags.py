import hashlib

import pytest

from models.card import EvaluationSet, Gain, ModelCard
from tests.models.cards import origin
from tests.models.networks import small_segmenter
from workers.gate import Verdict
from workers.version_tags import figures, tags


@pytest.fixture
def card() -> ModelCard:
    """Of a version that was judged on 8 pixels of background, 6 of them right, and 4 of clean ice, 2 of them right."""
    network = small_segmenter()
    known = origin()
    gain = Gain.between(known.metrics["test"], known.metrics["test"])
    judged = {"parent_version": 4, "gain": {"test": gain}, "metrics": {"test": known.metrics["test"]}}
    judged["evaluation"] = {"test": EvaluationSet(scenes=(2,), truth_sha256="1" * 64)}
    return ModelCard(
        **dict(known) | judged,
        channels=network.channels,
        mean=network.mean.tolist(),
        std=network.std.tolist(),
        unet=network.unet.config,
        weights_sha256="0" * 64,
        onnx_sha256="0" * 64,
    )


def test_figures_are_named_by_role_and_undefined_ones_left_out(card):
    found = figures(card)
    assert found["test.iou.background"] == pytest.approx(6 / 10)
    assert found["test.iou.clean ice"] == pytest.approx(2 / 6)
    assert found["test.gain.mean_iou"] == 0
    assert "test.iou.debris-covered ice" not in found
    assert {name.split(".")[0] for name in found} == {"test"}


def test_tags_hold_checksums_figures_and_verdict(card, tmp_path):
    (tmp_path / "card.json").write_bytes(b"{}")
    found = tags(card, Verdict(False, "it lost"), tmp_path)
    assert found["sha256.card.json"] == hashlib.sha256(b"{}").hexdigest()
    assert found["test.iou.background"] == "0.600000"
    assert (found["verdict"], found["verdict.reason"]) == ("kept", "it lost")
    assert (found["parent_version"], found["labels.count"], found["classes"]) == ("4", "2", "3")
    assert found["test.truth_sha256"] == "1" * 64
