"""What benchmarks leave behind, and how a run of them goes on after it was stopped."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import main, report
from benchmarks.plots import draw


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (report, main):
        monkeypatch.setattr(module, "BENCH", tmp_path)
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


def test_a_result_says_of_which_code_machine_and_command_it_is(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/idle_cost.py", "--seconds", "5"])
    report.publish(result(ratio=2.0, spread=(1.5, 2.5), baseline="nothing", seeds=[3]))
    written = json.loads((bench / "idle_cost.json").read_text())
    assert written["command"] == ["python", "-m", "benchmarks.idle_cost", "--seconds", "5"]
    assert (written["ratio"], written["spread"], written["seeds"]) == (2.0, [1.5, 2.5], [3])
    assert {"cores", "memory_gib", "gpu", "torch"} <= written["machine"].keys()
    assert main._is_done("idle_cost", ["--seconds", "5"])
    assert not main._is_done("idle_cost", ["--seconds", "6"])
    monkeypatch.setattr(main, "code_version", lambda: "other code")
    assert not main._is_done("idle_cost", ["--seconds", "5"])


def test_all_results_are_gathered_and_drawn(bench: Path) -> None:
    report.publish(result())
    report.publish(result(name="scoring_speed", ratio=3.0, spread=(2.9, 3.2), baseline="naive loop"))
    main.gather()
    assert [item["name"] for item in json.loads((bench / "report.json").read_text())] == ["scoring_speed", "idle_cost"]
    assert (bench / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_where_nothing_is_compared(tmp_path: Path) -> None:
    draw([{"name": "idle_cost", "ratio": None, "spread": None, "baseline": None}], tmp_path)
    assert not list(tmp_path.iterdir())


def test_tables_have_a_column_for_each_figure() -> None:
    rows = [{"what": "a", "seconds": 1.23456}, {"what": "b", "seconds": 20}]
    assert report.markdown(rows).splitlines() == ["| what | seconds |", "|---|---|", "| a | 1.23 |", "| b | 20 |"]


def test_every_benchmark_exists() -> None:
    folder = Path(main.__file__).parent
    assert [name for name in main.BENCHMARKS if not (folder / f"{name}.py").is_file()] == []
