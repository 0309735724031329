"""A run of all benchmarks: which it starts, which it skips, and how it collects their results."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import main, report


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "BENCH", tmp_path)
    monkeypatch.setattr(report, "code_version", lambda: "1.0+abc")
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/idle_cost.py", "--seconds", "5"])
    return tmp_path


def publish(**changes: object) -> None:
    report.publish(report.Result(**{"name": "idle_cost", "figures": [{"what": "a", "seconds": 1.25}], **changes}))


@pytest.mark.parametrize("name", main.BENCHMARKS)
@pytest.mark.parametrize("long", [False, True])
def test_every_benchmark_takes_its_arguments(name: str, long: bool) -> None:
    import_module(f"benchmarks.{name}").parser().parse_args(main.BENCHMARKS[name][long])


def test_a_benchmark_is_done_with_the_same_arguments_by_the_same_code(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    assert main.is_done(bench, "idle_cost", ["--seconds", "5"])
    assert not main.is_done(bench, "idle_cost", ["--seconds", "6"])
    monkeypatch.setattr(report, "code_version", lambda: "1.0+abd")
    assert not main.is_done(bench, "idle_cost", ["--seconds", "5"])


def test_a_benchmark_that_uncommitted_code_finished_is_run_again(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "code_version", lambda: "1.0+abc-dirty")
    publish()
    assert not main.is_done(bench, "idle_cost", ["--seconds", "5"])


def test_a_benchmark_that_left_something_out_is_run_again(bench: Path) -> None:
    publish(conditions={"left out": {"postgresql": "initdb is not installed"}})
    assert not main.is_done(bench, "idle_cost", ["--seconds", "5"])
    publish(conditions={"left out": {}})
    assert main.is_done(bench, "idle_cost", ["--seconds", "5"])


def test_a_failed_benchmark_leaves_no_older_result(bench: Path) -> None:
    publish()
    assert not main.run(bench, "idle_cost", ["--no-such-option"])
    main.gather(bench)
    assert json.loads((bench / "report.json").read_text()) == []


def test_all_results_are_collected_and_drawn_except_those_of_an_older_format(bench: Path) -> None:
    publish()
    publish(name="scoring_speed", ratio=3.0, spread=(2.9, 3.2), baseline="naive loop")
    (bench / "large_scene.json").write_text(json.dumps({"name": "large_scene", "peak_mib": 400}))
    main.gather(bench)
    assert [item["name"] for item in json.loads((bench / "report.json").read_text())] == ["scoring_speed", "idle_cost"]
    assert (bench / "ratios.png").read_bytes().startswith(b"\x89PNG")
