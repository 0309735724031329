"""Replaying gates on versions whose counts are made up, so that each decision is known."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate_chains import Chain, run_chain, spoil
from benchmarks.gate_rounds import Version, new_gate, old_gate, replay, row
from imagery.classes import UNKNOWN
from models.block_counts import BlockCounts
from models.gate import GateRules

RULES = GateRules(confidence=0.9, margin=0.05, class_margin=0.1)


def counts(wrong: int) -> BlockCounts:
    """100 blocks of 50 pixels of background and clean ice each, so many of either taken for the other."""
    of_block = (50 - wrong, wrong, 0, wrong, 50 - wrong, 0, 0, 0, 0)
    places = tuple((0, row, col) for row in range(10) for col in range(10))
    return BlockCounts(classes=3, side_px=32, places=places, counts=(of_block,) * 100)


def version(labels: int, on_validation: int, on_test: int) -> Version:
    return Version(labels, counts(on_validation), counts(on_test))


CHAIN = [version(6, 10, 10), version(12, 11, 8), version(18, 8, 12), version(24, 10, 8)]
"""Worse on validation and better on test; the reverse; worse than the last, better than the first."""


def test_each_version_is_compared_with_the_one_that_is_served_then() -> None:
    decided = replay(CHAIN, old_gate)
    assert [promoted for promoted, _ in decided] == [False, True, False]
    assert [on_test.outcome for _, on_test in decided] == ["better", "worse", "better"]


def test_the_table_counts_mistakes_of_both_kinds() -> None:
    found = row("new", [CHAIN], partial(new_gate, RULES))
    assert (found["decisions"], found["served"]) == (3, 1)
    assert (found["better on test"], found["of these held back"]) == (2, 1.0)
    assert found["served though significantly worse"] == 1
    # 12 instead of 10 pixels of each class wrong: IoU 38 / 62 instead of 40 / 60.
    assert found["their largest loss"] == pytest.approx(40 / 60 - 38 / 62)


def test_a_finished_chain_is_read_not_simulated(tmp_path: Path) -> None:
    chain = Chain("plain", 0, "careful", 384)
    (tmp_path / chain.file_name).write_text(json.dumps({"versions": [{"labels": 6}]}))
    assert run_chain(tmp_path, tmp_path / "work", chain, 1)["versions"] == [{"labels": 6}]
    assert not (tmp_path / "work").exists()


def test_careless_labels_differ_from_the_truth_and_leave_unknown_pixels() -> None:
    truth = np.full((64, 64), UNKNOWN, dtype=np.uint8)
    truth[8:40, 8:40] = np.kron([[0, 1], [2, 0]], np.ones((16, 16), dtype=np.uint8))
    spoilt = [spoil(truth, np.random.default_rng(seed)) for seed in range(12)]
    assert all((label != truth).any() for label in spoilt)
    assert len({label.tobytes() for label in spoilt}) >= 3  # each of the three ways
    assert all((label == UNKNOWN).sum() == (truth == UNKNOWN).sum() for label in spoilt)
