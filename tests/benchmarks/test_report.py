"""The results of benchmarks, and how they are measured and printed."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.plots import draw


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "BENCH", tmp_path)
    return tmp_path


def result(**changes: object) -> report.Result:
    values = {"name": "idle_cost", "figures": [{"what": "a", "seconds": 1.25}], **changes}
    return report.Result(**values)


def test_methods_take_turns_and_the_first_round_warms_up() -> None:
    calls = []
    seconds = report.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert [len(taken) for taken in seconds.values()] == [2, 2]


def test_times_are_wall_clock_seconds() -> None:
    (taken,) = report.take_turns({"sleep": lambda: time.sleep(0.05)}, rounds=1)["sleep"]
    assert 0.05 <= taken < 1


def test_ratios_are_taken_within_a_round() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 4.0, 4.0]}  # a machine that slows down
    assert report.times_as_fast(seconds, "ours", "theirs") == (2.0, (1.0, 3.0))


def test_a_result_holds_its_code_version_machine_and_command(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/idle_cost.py", "--seconds", "5"])
    report.publish(result(ratio=2.0, spread=(1.5, 2.5), baseline="nothing", seeds=[3]))
    written = json.loads((bench / "idle_cost.json").read_text())
    assert written["command"] == ["python", "-m", "benchmarks.idle_cost", "--seconds", "5"]
    assert (written["ratio"], written["spread"], written["seeds"]) == (2.0, [1.5, 2.5], [3])
    assert {"processor", "cores", "memory_gib", "gpu", "torch"} <= written["machine"].keys()
    assert written["machine"]["processor"]
    assert report.read(bench / "idle_cost.json") == written


def test_figures_that_json_cannot_hold_are_refused(bench: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        report.publish(result(ratio=float("nan")))
    assert report.read(bench / "idle_cost.json") is None


def test_results_of_an_older_format_count_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "label_efficiency.json"
    file.write_text(json.dumps({"name": "label_efficiency", "labels": [6, 12], "code_version": "1"}))
    assert report.read(file) is None


def test_uncommitted_code_never_counts_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "code_version", lambda: "1.0+abc")
    assert report.is_of_this_code("1.0+abc")
    assert not report.is_of_this_code("1.0+abd")
    monkeypatch.setattr(report, "code_version", lambda: "1.0+abc-dirty")
    assert not report.is_of_this_code("1.0+abc-dirty")


def test_nothing_is_drawn_without_a_ratio(tmp_path: Path) -> None:
    draw([{"name": "idle_cost", "ratio": None, "spread": None, "baseline": None}], tmp_path)
    assert not list(tmp_path.iterdir())


def test_tables_have_a_column_for_each_figure() -> None:
    rows = [{"what": "a", "seconds": 1.23456}, {"what": "b", "seconds": 20}]
    assert report.markdown(rows).splitlines() == ["| what | seconds |", "|---|---|", "| a | 1.23 |", "| b | 20 |"]
