"""What each part of the loop gave: hand-made counts and masks."""

from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from cli import levers
from cli.demo_table import print_levers
from cli.levers import Comparison, Lever, effort_levers, saved_px
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.grid import Grid
from imagery.masks import mask_to_geotiff
from imagery.store import RasterStore
from models.block_counts import BlockCounts, SceneBlocks
from services.arms import Arm, Arms, Difference
from services.estimates import Estimate
from workers.evaluation import Evaluation


def counts(right: int) -> BlockCounts:
    """Sixteen blocks of 100 true pixels of each of two classes, of which as many are right."""
    block = (right, 100 - right, 100 - right, right)
    places = tuple((0, row, col) for row in range(4) for col in range(4))
    return BlockCounts(classes=2, side_px=16, places=places, counts=(block,) * 16)


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.02, 0.01, 0.03, "pays"),
        (-0.02, -0.03, -0.01, "costs"),
        (0.01, -0.01, 0.03, "cannot be told"),
        (0.01, None, None, "cannot be told"),
        (0.0, 0.0, 0.0, "no difference"),  # the same version twice
    ],
)
def test_a_part_pays_or_costs_only_where_its_interval_leaves_zero_out(value, low, high, outcome) -> None:
    assert Lever("Labels", "", "mean IoU", value, low, high, "blocks").outcome == outcome


def test_a_difference_of_versions_is_that_of_their_mean_iou_over_blocks() -> None:
    lever = levers._iou_lever("Labels", "with and without", counts(75), counts(50))
    # 75 of 100 right: 75 / (100 + 25); half of them: 50 / 150. All blocks are alike, and so are all resamples.
    assert (lever.value, lever.low, lever.high) == (approx(0.6 - 1 / 3),) * 3
    assert lever.outcome == "pays"


def test_pre_annotations_save_what_an_empty_mask_would_have_taken_but_for_what_was_changed(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    grid = Grid("EPSG:32645", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 4, 4)
    drawn = np.array([[1, 1, 2, 0], [1, 1, 2, 0], [0, 0, 0, 0], [UNKNOWN] * 4], dtype=np.uint8)
    store.put("one", mask_to_geotiff(drawn, grid, GLACIER_SCHEME))
    store.put("other", mask_to_geotiff(np.zeros_like(drawn), grid, GLACIER_SCHEME))
    found = saved_px(store, [("one", 2), ("other", 2)])
    assert found is not None
    assert (found.value, found.count) == (1.0, 2)  # 6 - 2 and 0 - 2
    assert saved_px(store, []) is None


def test_errors_found_are_told_of_chosen_patches_against_each_control() -> None:
    differences = (
        Difference(Arm.CHOSEN, Arm.SHORTLIST, Estimate(120.0, 20.0, 220.0, 5), None, None),
        Difference(Arm.SHORTLIST, Arm.POOL, Estimate(50.0, None, None, 1), None, None),
        Difference(Arm.CHOSEN, Arm.POOL, None, None, None),
    )
    (errors, saved) = effort_levers(Arms((), differences), Estimate(300.0, -10.0, 610.0, 8))
    assert (errors.value, errors.outcome, errors.over) == (120.0, "pays", "5 rounds with both")
    assert "from the shortlist" in errors.compared
    assert (saved.name, saved.outcome, saved.over) == ("Pre-annotations", "cannot be told", "8 labels that had one")


def test_versions_without_a_counterpart_have_no_figure() -> None:
    scene = SceneBlocks(16, counts(50).confusion.reshape(4, 4, 2, 2))
    evaluation = Evaluation.of([scene], GLACIER_SCHEME.names[:2])
    assert Comparison("no old outlines", [evaluation] * 2, without=1).mean_iou == [None, approx(1 / 3)]


def test_the_table_shows_differences_with_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    print_levers(
        [
            Lever("Labels", "with and without", "mean IoU", 0.021, 0.01, 0.03, "blocks"),
            Lever("Errors found", "chosen and drawn", "pixels a label", -12.4, None, None, "rounds"),
        ]
    )
    printed = capsys.readouterr().out
    assert "+0.021" in printed
    assert "[+0.010, +0.030]" in printed
    assert "-12" in printed
