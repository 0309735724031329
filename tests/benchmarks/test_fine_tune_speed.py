from pathlib import Path

import pytest

from benchmarks.fine_tune_speed import FILES, HEADLINE, HELD, OURS, compared, headline, labelled_scene, speed
from imagery.classes import GLACIER_SCHEME
from workers.labelled_patches import LabelledPatchDataset


def test_the_headline_is_of_the_smallest_patches_in_any_order() -> None:
    rows = [{"px": px, "method": method} for px in (256, 64, 512) for method in (FILES, HELD, *OURS)]
    assert headline(rows) == {"px": 64, "method": HEADLINE}


def test_quality_is_compared_with_the_plain_loop_seed_by_seed() -> None:
    rows = [
        {"seed": seed, "method": method, "loss": seed + gain, "validation": 0.5, "test": 0.5 + gain}
        for seed in range(2)
        for method, gain in zip((HELD, *OURS), (0.0, 0.125, 0.25), strict=True)
    ]
    plain, _, ours = compared(rows)
    assert (plain["loss"], plain["loss - plain"], plain["test - plain"]) == (0.5, "+0.000 ± 0.000", "+0.000 ± 0.000")
    assert (ours["loss"], ours["loss - plain"], ours["test - plain"]) == (0.75, "+0.250 ± 0.000", "+0.250 ± 0.000")


def test_the_training_set_has_an_item_for_each_patch(tmp_path: Path) -> None:
    scene = labelled_scene(64, tmp_path)
    dataset = LabelledPatchDataset(scene.labels, scene.channels, scene.store, GLACIER_SCHEME)
    assert len(dataset) == len(scene.labels) == 7 * 11  # the pool of Everest has 400 x 655 px


@pytest.mark.slow
def test_each_method_is_timed_beside_both_plain_loops(tmp_path: Path) -> None:
    rows = {row["method"]: row for row in speed(64, 1, tmp_path)}
    assert list(rows) == [FILES, HELD, *OURS]
    assert rows[FILES]["x reading"] == rows[HELD]["x in memory"] == 1.0
    for name in OURS:
        row = rows[name]
        assert row["lowest"] == row["x in memory"] == row["highest"]  # of one round
        assert row["x in memory"] == pytest.approx(rows[HELD]["s a step"] / row["s a step"])
        assert row["x reading"] == pytest.approx(rows[FILES]["s a step"] / row["s a step"])
