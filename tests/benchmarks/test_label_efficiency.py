"""The loop on a region: what strategies share, what is counted, and how cells are kept, stopped and merged."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.label_efficiency import Unit, merge, missing, read, run, run_unit, tables
from benchmarks.learning_loop import EVERY_PATCH, Loop, LoopConfig, edits, is_better_than_empty
from benchmarks.regions import SPECS, Region, load
from imagery.classes import CLEAN_ICE, UNKNOWN
from imagery.synthetic_surface import Shares

TINY = LoopConfig(round_size=2, start_rounds=1, chosen_rounds=2, steps=2, depth=2, width=2, passes=2)
ALL = ["random", "foreground_random", "class_power_entropy", "entropy_top10", EVERY_PATCH]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("regions")


@pytest.fixture(scope="module", autouse=True)
def small_region() -> None:
    """Replace a synthetic region by a small one, in this process."""
    small = replace(SPECS["rare-ice"], size=(192, 256), cuts=(64, 192), shares=Shares(0.3, 0.05, 0.02), place="small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, "rare-ice", small)  # type: ignore[arg-type]
        yield


@pytest.fixture(scope="module")
def region(folder: Path) -> Region:
    return load("rare-ice", folder)


@pytest.fixture(scope="module")
def cells(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("cells")
    run_unit(found, folder, TINY, Unit("rare-ice", 0, tuple(ALL)))
    return found


def test_strategies_share_the_start_and_differ_afterwards(cells: Path) -> None:
    found = read(cells, TINY)
    starts = [found["rare-ice", name, 0][0] for name in ALL[:-1]]
    assert all(start == starts[0] for start in starts)
    for name in ALL[:-1]:
        rounds = found["rare-ice", name, 0]
        assert [each["labels"] for each in rounds] == [2, 4, 6]
        chosen = [patch for each in rounds for patch in each["chosen"]]
        assert len(set(chosen)) == 6
        assert rounds[0]["edited_pixels"] <= rounds[1]["edited_pixels"] <= rounds[2]["edited_pixels"]
    assert len({tuple(found["rare-ice", name, 0][-1]["chosen"]) for name in ALL[:-1]}) > 1
    (every,) = found["rare-ice", EVERY_PATCH, 0]
    assert every["labels"] == 6


def test_a_cell_is_the_same_when_it_is_run_again(cells: Path, region: Region) -> None:
    again = Loop(region, 0, TINY).run("class_power_entropy")
    stored = read(cells, TINY)["rare-ice", "class_power_entropy", 0]
    assert [each.chosen for each in again] == [each["chosen"] for each in stored]
    assert [each.learner_mean_iou for each in again] == pytest.approx([each["learner_mean_iou"] for each in stored])


def test_finished_cells_are_not_run_again(cells: Path) -> None:
    assert missing(cells, TINY, ["rare-ice"], 1, ALL) == []
    assert missing(cells, TINY, ["rare-ice"], 2, ALL) == [Unit("rare-ice", 1, tuple(ALL))]
    assert missing(cells, TINY, ["rare-ice"], 1, [*ALL, "margin_top10"]) == [Unit("rare-ice", 0, ("margin_top10",))]
    other = replace(TINY, steps=3)
    assert missing(cells, other, ["rare-ice"], 1, ["random"]) == [Unit("rare-ice", 0, ("random",))]


def test_cells_of_another_machine_are_merged(cells: Path, tmp_path: Path) -> None:
    file = tmp_path / "cells.json"
    file.write_text(json.dumps([json.loads(cell.read_text()) for cell in cells.glob("*.json")]))
    here = tmp_path / "here"
    here.mkdir()
    assert merge(here, file) == len(ALL)
    assert read(here, TINY) == read(cells, TINY)


def test_all_tables_can_be_made_from_one_region(cells: Path) -> None:
    found = dict(tables(read(cells, TINY), ALL[:-1], TINY))
    primary = found["Primary figure: mean IoU at equal edited pixels"]
    assert [row["strategy"] for row in primary] == ["foreground_random", "class_power_entropy", "entropy_top10"]
    assert primary[0]["minus ice-first random"] == "—"
    assert all(rows for rows in found.values())


def test_a_run_ends_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    run([Unit("rare-ice", seed, ()) for seed in range(2)], _sleep_a_minute, 1, 0.05)
    assert time.monotonic() - started < 30


def test_changed_pixels_and_areas_are_counted_where_the_label_is_known() -> None:
    offered = np.zeros((6, 6), dtype=np.uint8)
    drawn = offered.copy()
    drawn[0, :2] = CLEAN_ICE.value
    drawn[4:, 4:] = CLEAN_ICE.value
    drawn[2, :] = UNKNOWN
    assert edits(offered, drawn) == (6, 2)
    assert edits(drawn, drawn) == (0, 0)


def test_a_pre_annotation_has_to_beat_an_empty_mask() -> None:
    right = np.diag([50, 30, 20])
    assert is_better_than_empty(right)
    assert not is_better_than_empty(np.array([[0, 50, 0], [0, 0, 30], [20, 0, 0]]))


def test_the_loop_needs_no_gdal() -> None:
    code = (
        "import sys, benchmarks.label_efficiency\n"
        "print(sorted(name for name in ('rasterio', 'pyogrio', 'mlflow', 'flask') if name in sys.modules))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _sleep_a_minute(unit: Unit) -> float:
    time.sleep(60)
    return 60.0
