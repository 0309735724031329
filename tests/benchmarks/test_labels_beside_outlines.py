"""The experiment on labels beside old outlines, on a tiny region."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import labels_beside_outlines as bench
from experiments.cells import Unit
from tests.experiments.tiny_region import TINY, load_tiny


def test_a_cell_is_kept_and_read_by_its_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = replace(bench.ARMS["share 0"], config=TINY)
    monkeypatch.setattr(bench, "ARMS", {"share 0": arm})
    monkeypatch.setattr(bench, "load", lambda name, _: load_tiny(name))
    assert bench.missing({}, ["oetztal"], 1) == [Unit("oetztal", 0, ("share 0",))]
    bench.run_unit(tmp_path, tmp_path, Unit("oetztal", 0, ("share 0",)))
    cells = bench.read(tmp_path)
    assert list(cells["oetztal", "share 0", 0]) == [0, 2, 4, 6]
    assert bench.missing(cells, ["oetztal"], 1) == []
    monkeypatch.setattr(bench, "ARMS", {"share 0": replace(arm, strategy="entropy_top10")})
    assert bench.read(tmp_path) == {}  # made by another arm


def test_differences_are_paired_at_equal_labels() -> None:
    cells = {
        ("oetztal", "share .5", 0): {0: 0.4, 12: 0.5, 24: 0.6},
        ("oetztal", "share 0", 0): {0: 0.4, 12: 0.6},
        ("baltoro", "share .5", 0): {0: 0.2, 12: 0.5},
        ("baltoro", "share 0", 0): {0: 0.2, 12: 0.3},
    }
    outlines_alone, twelve, twice, *_ = bench.share_rows(cells)
    assert outlines_alone["share .5"] == pytest.approx(0.3)
    assert str(outlines_alone["share 0 - .5"]).startswith("+0.000")  # without labels the arms are the same
    assert twelve["share 0 - .5"] == "-0.050 [-0.200, +0.100] (1 of 2)"  # the mean of +0.1 and -0.2
    assert twice["share 0 - .5"] == "—"


def test_fewer_labels_beside_outlines_are_compared_with_all_alone() -> None:
    cells = {("oetztal", "share .5", 0): {12: 0.7}, ("oetztal", "no outlines", 0): {60: 0.5}}
    assert str(bench.saved_rows(cells)[0]["share .5 - 60 alone"]).startswith("+0.200")


def test_what_chooses_at_once_is_compared_round_by_round_and_on_average() -> None:
    cells = {
        ("oetztal", "two random rounds", 0): {0: 0.9, 6: 0.5, 12: 0.6},
        ("oetztal", "none", 0): {0: 0.9, 6: 0.6, 12: 0.8},
    }
    rows = {row["labels"]: str(row["no random rounds - two"]) for row in bench.start_rows(cells)}
    assert rows["6"].startswith("+0.100")
    assert rows["12"].startswith("+0.200")
    assert rows["mean over the rounds"].startswith("+0.150")
