"""Tables of the demonstration over seeds, from hand-made reports."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import demo_seeds
from benchmarks.demo_seeds import curve_rows, lever_rows, report_of


def report(*, last: float, gain: float, outcome: str) -> dict[str, Any]:
    rounds = [
        {
            "labels": labels,
            "version": version,
            "champion": 1,
            "iou": {"test": {"mean": mean}},
            "gate": {"promoted": first},
        }
        for labels, version, mean, first in ((0, 1, 0.5, True), (8, 2, last, False))
    ]
    lever = {"name": "Labels", "unit": "mean IoU", "value": gain, "low": gain - 0.1, "high": gain + 0.1}
    return {"seconds": 99.6, "rounds": rounds, "levers": [lever | {"outcome": outcome}]}


REPORTS = {0: report(last=0.6, gain=0.1, outcome="pays"), 1: report(last=0.7, gain=0.3, outcome="cannot be told")}


def test_curves_tell_the_learner_by_labels_and_what_is_served_at_last() -> None:
    first, _ = curve_rows(REPORTS)
    assert first == {
        "seed": 0,
        "0 labels": 0.5,
        "8 labels": 0.6,
        "served at last": 0.5,
        "promoted": "1 of 2",
        "seconds": 100,
    }


def test_levers_are_told_over_seeds_and_of_each() -> None:
    (row,) = lever_rows(REPORTS)
    # Mean .2 of .1 and .3, whose standard error is .1; t of one degree of freedom at 97.5 % is 12.706.
    assert row["over seeds"] == "+0.200 [-1.071, +1.471]"
    assert row["pays / cannot be told / no difference / costs"] == "1 / 1 / 0 / 0"
    assert row["seed 1"] == "+0.300 [+0.200, +0.400]"


def test_a_report_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_seeds, "FOLDER", tmp_path)
    folder = tmp_path / "3" / "demo"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(REPORTS[0]))
    assert report_of(3) == REPORTS[0]
