"""Progress on a terminal and in a log."""

import io

import pytest

from cli import progress as progress_module
from cli.progress import progress


def test_a_log_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("fine tune") as tell:
        tell(None, None)
        for percent in range(0, 41, 5):
            tell(percent / 100, 120.0)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "fine tune",
        *(f"fine tune, {percent}%, about 2 minutes left" for percent in (10, 20, 30, 40)),
    ]


def test_without_a_time_it_is_estimated_from_the_time_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 60.0, 60.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with progress("scoring") as tell:
        tell(0.25, None)
    assert capsys.readouterr().err == "scoring, 25%, about 3 minutes left\n"


def test_of_work_that_ends_soon_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 2.9, 3.1, 3.1])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with progress("the backup", quiet_s=3.0) as tell:
        tell(0.2, 10.0)
        assert capsys.readouterr().err == ""
        tell(0.5, 10.0)
    assert capsys.readouterr().err == "the backup, 50%, about 10 seconds left\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("fine tune") as tell:
        tell(0.5, 120.0)
    assert "50%" in screen.getvalue()
    assert "about 2 minutes left" in screen.getvalue()
