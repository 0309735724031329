"""Cells are kept, found again, and computed by processes that may fail or run out of time."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.cells import Unit, missing, read, run, run_unit
from tests.experiments.tiny_region import TINY, load_tiny

NAMES = ["random", "entropy_top10"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    run_unit(folder, load_tiny, TINY, Unit("tiny", 0, tuple(NAMES)))
    return folder


def test_finished_cells_are_not_run_again(cells: Path) -> None:
    done = read(cells, TINY)
    assert missing(done, ["tiny"], 1, NAMES) == []
    assert missing(done, ["tiny"], 2, NAMES) == [Unit("tiny", 1, tuple(NAMES))]
    assert missing(done, ["tiny"], 1, [*NAMES, "margin_top10"]) == [Unit("tiny", 0, ("margin_top10",))]
    assert read(cells, replace(TINY, steps=3)) == {}
    assert read(cells, replace(TINY, annotator="strokes")) == {}


def test_with_more_processes_than_seeds_each_strategy_is_a_unit() -> None:
    assert missing({}, ["tiny"], 2, NAMES, 2) == [Unit("tiny", 0, tuple(NAMES)), Unit("tiny", 1, tuple(NAMES))]
    alone = missing({}, ["tiny"], 2, NAMES, 3)
    assert alone == [Unit("tiny", seed, (name,)) for seed in (0, 1) for name in NAMES]


def test_a_strategy_that_runs_alone_shares_the_start_all_the_same(cells: Path, tmp_path: Path) -> None:
    run_unit(tmp_path, load_tiny, TINY, Unit("tiny", 0, ("entropy_top10",)))
    assert read(tmp_path, TINY)["tiny", "entropy_top10", 0][0] == read(cells, TINY)["tiny", "random", 0][0]


def test_a_run_ends_in_time() -> None:
    started, ended = time.monotonic(), []
    units = [Unit("tiny", seed, ()) for seed in range(2)]
    assert run(units, _sleep_a_minute, 1, 0.03, lambda unit, status: ended.append((unit, status))) == []
    assert time.monotonic() - started < 30
    assert ended == [(units[0], None), (units[1], None)]


def test_a_process_that_dies_is_told_and_the_others_run() -> None:
    ended = []
    units = [Unit("tiny", seed, ()) for seed in range(2)]
    assert run(units, _die_with_the_first_seed, 1, None, lambda unit, status: ended.append((unit, status))) == units[:1]
    assert ended == [(units[0], 3), (units[1], 0)]


def _sleep_a_minute(unit: Unit) -> None:
    time.sleep(60)


def _die_with_the_first_seed(unit: Unit) -> None:
    if unit.seed == 0:
        os._exit(3)
