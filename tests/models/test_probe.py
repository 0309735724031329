"""The probe of a version: computed again by the ONNX graph, and failed by a graph that computes something else."""

import base64

import numpy as np
import onnxruntime
import pytest

from models.bundle import write_bundle
from models.card import ModelCard
from models.heads import decide
from models.probe import LEAST_EQUAL, TOLERANCE, probe_input
from tests.models.cards import origin
from tests.models.networks import MEAN, STD, small_segmenter


def test_the_input_is_what_the_formula_says():
    image = probe_input(np.array(MEAN), np.array(STD))
    # Channel 1, row 9, column 20: t = (20 * 2 + 9 * 3) mod 64 = 3, so 50 + 10 * (29 / 8 - 2) = 66.25.
    assert image[1, 9, 20] == 66.25
    assert np.isnan(image[:, 56:, 56:]).all()
    assert np.isnan(image[0, :8, :8]).all()
    assert np.isnan(image).sum() == 2 * 64 + 64


@pytest.mark.parametrize("head", ["multiclass", "two_binaries"])
def test_the_onnx_graph_of_a_bundle_passes_its_probe(tmp_path, head):
    segmenter = small_segmenter(seed=1, head=head)
    card = write_bundle(tmp_path, segmenter, origin())
    assert passes(card, tmp_path / "model.onnx")


def test_another_network_fails_it(tmp_path):
    card = write_bundle(tmp_path / "a", small_segmenter(seed=1), origin())
    write_bundle(tmp_path / "b", small_segmenter(seed=2), origin())
    assert not passes(card, tmp_path / "b" / "model.onnx")


def passes(card: ModelCard, graph) -> bool:
    """Compare as docs/web-tool.md tells clients to."""
    probe = card.probe
    assert probe is not None
    image = probe_input(np.array(card.mean), np.array(card.std), probe.side_px)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"raw": image[None]})[0]
    classes = np.frombuffer(base64.b64decode(probe.classes), np.uint8).reshape(found.shape[1:])
    expected = np.frombuffer(base64.b64decode(probe.probabilities), np.uint8).reshape(found.shape) / 255
    equal = (decide(found, card.head, card.precedence) == classes).mean()
    return bool(equal >= LEAST_EQUAL and np.abs(found - expected).max() <= TOLERANCE)
