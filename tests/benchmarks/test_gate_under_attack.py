"""Bad labels, and tables from chains that are made up, so that each figure is known."""

from typing import Any

import numpy as np
import pytest

from benchmarks.attacked_chains import ATTACKED, KINDS, REGIONS, ROUND_SIZE, WITH_ICE, _rounds, chains, figures
from benchmarks.gate_under_attack import area_under_curve, named_row, replay, served_row, threshold
from benchmarks.imperfect_labels import ATTACKS, BLOB_PX, SHIFT_PX
from imagery.classes import UNKNOWN
from models.label_doubt import doubt
from tests.benchmarks.test_gate_rounds import counts

TRUTH = np.zeros((64, 64), dtype=np.uint8)
TRUTH[16:48, 16:48] = 1
TRUTH[20:30, 20:30] = 2
TRUTH[:, 60:] = UNKNOWN


@pytest.mark.parametrize("kind", ["swapped", "empty", "careless"])
def test_attacks_leave_unknown_pixels(kind: str) -> None:
    drawn = ATTACKS[kind](TRUTH, np.random.default_rng(0))
    assert ((drawn == UNKNOWN) == (TRUTH == UNKNOWN)).all()
    assert (drawn != TRUTH).any()


def test_a_shifted_label_is_the_truth_a_few_pixels_off() -> None:
    drawn = ATTACKS["shifted"](TRUTH, np.random.default_rng(0))
    at = np.argwhere(drawn == 2)[0] - np.argwhere(TRUTH == 2)[0]
    assert set(np.abs(at)) <= {0, SHIFT_PX} and at.any()
    assert (drawn == 2).sum() == 100


def test_swapped_classes_are_the_two_most_frequent() -> None:
    drawn = ATTACKS["swapped"](TRUTH, np.random.default_rng(0))
    for value, other in ((0, 1), (1, 0), (2, 2)):
        assert set(drawn[value == TRUTH]) == {other}


def test_a_careless_annotator_draws_squares_and_overlooks_pieces() -> None:
    pieces = np.zeros((64, 64), dtype=np.uint8)
    pieces[::16, :] = 1  # four lines, each in the middle of a row of squares
    drawn = ATTACKS["careless"](np.roll(pieces, BLOB_PX // 2, axis=0), np.random.default_rng(1))
    of_squares = drawn.reshape(8, BLOB_PX, 8, BLOB_PX)
    assert (of_squares == of_squares[:, :1, :, :1]).all()
    assert 0 < (of_squares[:, 0, 0, 0] == 1).sum() < 4


def test_rounds_hold_ice_while_there_is_any() -> None:
    masks = np.zeros((20, 1, 1), dtype=np.uint8)
    masks[:9] = 1
    found = _rounds(masks, 0)
    assert [sum(patch < 9 for patch in patches) for patches in found] == [WITH_ICE, WITH_ICE, 1]
    assert {len(patches) for patches in found} == {ROUND_SIZE}
    assert len({patch for patches in found for patch in patches}) == 18


def test_the_first_chains_hold_every_region_and_all_kinds() -> None:
    first = chains([1, 2])[: len(REGIONS)]
    assert {chain.region for chain in first} == set(REGIONS)
    assert {chain.kind for chain in first} == set(KINDS)
    assert len(set(chains([1, 2]))) == 2 * len(REGIONS) * len(KINDS)


def test_the_figure_of_the_product_is_among_those_compared() -> None:
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], size=(8, 8)).transpose(2, 0, 1)
    label = np.random.default_rng(1).integers(0, 3, size=(8, 8)).astype(np.uint8)
    found = figures(probabilities, probabilities.argmax(axis=0).astype(np.uint8), label)
    assert found is not None
    assert found.loss - found.entropy == pytest.approx(doubt(probabilities, label, UNKNOWN))
    assert found.differs >= found.contradicted > 0


def label_row(since: int, changed: float, excess: float) -> dict[str, Any]:
    return {"since": since, "changed": changed, "champion": {"loss": 0.5 + excess, "entropy": 0.5}}


def version(parent: int | None, wrong: int, on_test: int, promoted: bool, excess: float = 0.0) -> dict[str, Any]:
    return {
        "labels": 6,
        "attacked": True,
        "champion": parent,
        "parent": parent,
        "promoted": promoted,
        "set back": False,
        "validation": counts(wrong).model_dump(),
        "test": counts(on_test).model_dump(),
        "doubts": [label_row(0, 0.0, 9.0), label_row(1, 0.5, excess), label_row(1, 0.0, 0.0)],
    }


CHAIN = {
    "kind": "empty",
    "versions": [version(None, 10, 10, True), version(0, 10, 13, True, 0.3), version(1, 9, 9, True)],
}
"""The second version is as good as the first on validation ground and worse on test; half of its labels stand out."""


def test_the_table_tells_what_was_served_though_worse() -> None:
    found = served_row("empty", replay(CHAIN, 0.05, 1.0))
    assert (found["decisions"], found["served"], found["refused"]) == (2, 2, 0)
    assert found["**served though significantly worse on test**"] == 1
    assert found["their largest loss"] == pytest.approx(40 / 60 - 37 / 63)
    assert found["significantly better"] == 1


def test_no_loss_is_tolerated_where_many_new_labels_stand_out() -> None:
    maybe_worse = version(0, 10, 13, True, 0.3)
    wrong = np.random.default_rng(1).poisson(10.3, 100).tolist()
    maybe_worse["validation"]["counts"] = [(50 - n, n, 0, n, 50 - n, 0, 0, 0, 0) for n in wrong]
    chain = {**CHAIN, "versions": [CHAIN["versions"][0], maybe_worse]}
    assert [replay(chain, 0.05, most)[0].promoted for most in (1.0, 0.5, 0.4)] == [True, True, False]


def test_a_replay_ends_where_the_learner_would_have_gone_another_way() -> None:
    strayed = [CHAIN["versions"][0], version(0, 20, 20, False), version(1, 20, 20, False), version(2, 9, 9, True)]
    found = replay({**CHAIN, "versions": strayed}, 0.05, 1.0)
    assert [item.set_back for item in found] == [False, True]
    strayed[3]["parent"] = 0
    assert [item.promoted for item in replay({**CHAIN, "versions": strayed}, 0.05, 1.0)] == [False, False, True]


def test_curve_threshold_and_names_of_bad_labels() -> None:
    assert area_under_curve([3, 2], [1, 2]) == pytest.approx((4 - 0.5) / 4)
    assert area_under_curve([], [1]) is None
    found = threshold([5.0, 100.0], [float(value) for value in range(1, 102)])
    assert found == {"threshold": 96.0, "precision": pytest.approx(1 / 6), "recall": 0.5}
    rows = {"empty": [label_row(1, 0.5, 0.3), label_row(1, 0.5, 0.1), label_row(1, 0.0, 0.3), label_row(1, 0.0, 0.0)]}
    named = named_row(rows)
    assert (named["empty"], named["precision"], named["recall"]) == (0.5, 0.5, 0.5)
    assert named["all"] == "50% of honest ones named"


def test_attacks_come_two_in_a_row() -> None:
    assert any(number + 1 in ATTACKED for number in ATTACKED)
