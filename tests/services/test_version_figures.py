import hashlib
from pathlib import Path

import pytest

from models.card import EvaluationSet, Gain, ModelCard
from models.gate import GainInterval, GateEvidence, Verdict
from services.doubted_labels import DoubtedLabel
from services.version_figures import WITHDRAWN, VersionFigures, withdrawals_tag
from tests.models.cards import origin
from tests.models.networks import small_segmenter
from workers.card_figures import figures_of_card


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


@pytest.fixture
def figures(card: ModelCard, tmp_path: Path) -> VersionFigures:
    (tmp_path / "card.json").write_bytes(b"{}")
    return figures_of_card(card, Verdict(False, "it lost"), tmp_path)


GATE = GateEvidence(
    champion_version=3,
    confidence=0.9,
    margin=0.05,
    class_margin=0.1,
    mean_iou=GainInterval(gain=0.02, low=-0.01, high=0.05, outcome="not worse"),
    iou={"clean ice": GainInterval(gain=None, low=None, high=None, outcome="cannot tell")},
    blocks=40,
    block_px=32,
    independent_blocks=31.5,
    blocks_needed=90,
    too_small=True,
)


def test_withdrawals_are_told_by_a_tag_and_read_back(figures: VersionFigures) -> None:
    tag = withdrawals_tag({1: True, 12: False})
    assert tag == "1 (directly), 12 (through its parent)"
    assert VersionFigures.from_tags(figures.to_tags()).withdrawals == ()
    assert VersionFigures.from_tags({**figures.to_tags(), WITHDRAWN: tag}).withdrawals == (1, 12)
    spoilt = VersionFigures.from_tags({**figures.to_tags(), WITHDRAWN: "never mind"})
    assert spoilt.withdrawals == ()
    assert any(WITHDRAWN in fault for fault in spoilt.faults)


def test_the_evidence_of_the_gate_is_read_back_and_logged(card: ModelCard, tmp_path: Path) -> None:
    judged = card.model_copy(update={"gate": GATE, "champion_version": 3})
    figures = figures_of_card(judged, Verdict(True, "not worse", GATE), tmp_path)
    found = VersionFigures.from_tags(figures.to_tags())
    assert GateEvidence.model_validate(found.gate.model_dump()) == GATE
    assert (found.champion_version, found.parent_version) == (3, 4)
    logged = {name: value for name, value in figures.metrics().items() if name.startswith("gate.")}
    assert logged == {
        "gate.blocks": 40,
        "gate.blocks_needed": 90,
        "gate.independent_blocks": 31.5,
        "gate.mean_iou.gain": 0.02,
        "gate.mean_iou.low": -0.01,
        "gate.mean_iou.high": 0.05,
    }


def test_evidence_edited_by_hand_is_named(figures: VersionFigures) -> None:
    found = VersionFigures.from_tags(figures.to_tags() | {"gate.evidence": '{"blocks": "many"}'})
    assert found.gate is None
    assert "'gate.evidence'" in found.faults[0]


def test_doubted_labels_are_read_back_and_an_edited_tag_is_named(card: ModelCard, tmp_path: Path) -> None:
    doubted = [DoubtedLabel(label=3, proposal="a" * 32, doubt=0.42)]
    figures = figures_of_card(card, Verdict(False, "it lost"), tmp_path, doubted)
    assert VersionFigures.from_tags(figures.to_tags()).doubted == tuple(doubted)
    found = VersionFigures.from_tags(figures.to_tags() | {"labels.doubted": "3"})
    assert found.doubted == ()
    assert "'labels.doubted'" in found.faults[0]


def test_metrics_are_named_by_role_and_undefined_ones_left_out(figures: VersionFigures) -> None:
    found = figures.metrics()
    assert found["test.iou.background"] == pytest.approx(6 / 10)
    assert found["test.iou.clean ice"] == pytest.approx(2 / 6)
    assert found["test.gain.mean_iou"] == 0
    assert "test.iou.debris-covered ice" not in found
    assert {name.split(".")[0] for name in found} == {"test"}


def test_tags_hold_checksums_figures_and_verdict(figures: VersionFigures) -> None:
    found = figures.to_tags()
    assert found["sha256.card.json"] == hashlib.sha256(b"{}").hexdigest()
    assert found["test.iou.background"] == "0.600000"
    assert (found["verdict"], found["verdict.reason"]) == ("kept", "it lost")
    assert (found["parent_version"], found["labels.count"]) == ("4", "2")
    assert found["class_names"] == '["background", "clean ice", "debris-covered ice"]'
    assert found["test.truth_sha256"] == "1" * 64


def test_tags_are_read_back_as_the_same_figures(figures: VersionFigures) -> None:
    found = VersionFigures.from_tags(figures.to_tags())
    assert found.metrics() == pytest.approx(figures.metrics(), abs=1e-6)
    assert found.regions["test"].iou["debris-covered ice"] is None  # undefined, so without a tag
    same = ("class_names", "parent_version", "labels", "labels_sha256", "verdict", "verdict_reason", "sha256")
    assert [getattr(found, name) for name in same] == [getattr(figures, name) for name in same]
    assert found.faults == ()


@pytest.mark.parametrize("text", ["0,71", "", "high", "inf", "1e999"])
def test_a_number_edited_by_hand_is_no_figure_and_harms_no_other(figures: VersionFigures, text: str) -> None:
    found = VersionFigures.from_tags(figures.to_tags() | {"test.mean_iou": text})
    assert found.regions["test"].mean_iou is None
    assert found.regions["test"].iou["background"] == pytest.approx(6 / 10)
    (fault,) = found.faults
    assert "'test.mean_iou'" in fault
    assert repr(text) in fault


@pytest.mark.parametrize(("tag", "text"), [("labels.count", "two"), ("parent_version", "-1"), ("class_names", "{}")])
def test_other_tags_edited_by_hand_are_named_too(figures: VersionFigures, tag: str, text: str) -> None:
    (fault,) = VersionFigures.from_tags(figures.to_tags() | {tag: text}).faults
    assert repr(tag) in fault


def test_versions_of_earlier_releases_have_the_classes_of_their_figures() -> None:
    """They noted no names: a binary head is known by its figures, an undefined figure of the others by the scheme."""
    binary = {"test.mean_iou": "0.5", "test.iou.background": "0.6", "test.iou.glacier": "0.4"}
    assert VersionFigures.from_tags(binary).class_names == ("background", "glacier")
    three = {"test.mean_iou": "0.5", "test.iou.background": "0.6", "test.iou.clean ice": "0.4"}
    assert VersionFigures.from_tags(three).regions["test"].iou["debris-covered ice"] is None
