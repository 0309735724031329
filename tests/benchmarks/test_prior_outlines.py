"""The experiment on old outlines, on a forged scene instead of its regions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import prior_outlines as bench
from benchmarks.prior_outlines import ARMS, Arm, Ground
from imagery.aged_outlines import Ageing
from imagery.classes import UNKNOWN
from imagery.describe_scene import describe
from imagery.grid import tile
from imagery.scene_reader import SceneReader
from models.weak_masks import AMBIGUOUS
from tests.imagery.forge import BAND_NAMES, forge_scene
from workers.windows import read_batch


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    forged = forge_scene(tmp_path / "a.tif")
    source = describe(forged.bands)
    windows = tile(160, 100, 32)
    with SceneReader(source) as reader:
        images = read_batch(reader, BAND_NAMES, windows)
    truth = np.stack([forged.truth[window.slices] for window in windows])
    made = Ground(windows, images, forged.truth, source, images, truth, BAND_NAMES, width=4)
    monkeypatch.setattr(bench, "ground", lambda _: made)
    monkeypatch.setattr(bench, "STEPS", 2)
    bench.first_version.cache_clear()
    return made


def test_a_cell_has_the_iou_of_each_class_by_number_of_labels(place: Ground) -> None:
    found = bench.run_cell("forged", Arm(labels=(3, 5)), 0)
    assert list(found) == ["0", "3", "5"]
    assert all(len(iou) == 3 for iou in found.values())
    assert list(bench.run_cell("forged", ARMS["none"], 0)) == ["16", "60"]


def test_arms_that_differ_in_their_share_begin_with_the_same_version(place: Ground) -> None:
    first, second = (bench.run_cell("forged", Arm(share=share, labels=(3,)), 0) for share in (0.0, 1.0))
    assert first["0"] == second["0"]
    assert bench.first_version.cache_info().currsize == 1


@pytest.mark.parametrize(("ambiguous", "ice"), [("outlined", 1), ("any", AMBIGUOUS + 1), ("unknown", UNKNOWN)], ids=str)
def test_outlines_without_a_debris_class_teach_as_the_arm_says(place: Ground, ambiguous: str, ice: int) -> None:
    arm = Arm(ageing=Ageing(merged_into=1), ring_px=0.0, ambiguous=ambiguous)
    found = bench.weak_mask(place, arm, 0)
    np.testing.assert_array_equal(found, np.where(place.truth > 0, ice, 0))


def test_the_table_pairs_cells_of_one_region_and_seed() -> None:
    cells = {
        (region, arm, seed): {"0": [value, value, None], "16": [value + 0.1 * seed, value, value]}
        for region in ("a", "b")
        for seed in (0, 1)
        for arm, value in (("poor", 0.3), ("none", 0.2))
    }
    poor, none = bench.table(cells, ["poor", "none"])
    assert (poor["IoU at 0"], poor["debris at 0"], poor["minus poor at 16"]) == (pytest.approx(0.3), "—", "—")
    assert none["minus poor at 16"] == "-0.100 [-0.100, -0.100]"
    assert none["cells"] == 4


def test_finished_cells_are_read_back(tmp_path: Path) -> None:
    record = tmp_path / "cells.jsonl"
    assert bench.read_cells(record) == {}
    record.write_text('{"region": "a", "arm": "poor", "seed": 1, "iou": {"0": [0.5]}, "seconds": 2}\n')
    assert bench.read_cells(record) == {("a", "poor", 1): {"0": [0.5]}}


def test_the_network_is_seeded(place: Ground) -> None:
    same, other = (torch.cat([p.flatten() for p in place.fresh(seed).parameters()]) for seed in (0, 1))
    assert torch.equal(same, torch.cat([p.flatten() for p in place.fresh(0).parameters()]))
    assert not torch.equal(same, other)
