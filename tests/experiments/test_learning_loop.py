"""The loop on a region: what strategies share, and what is learnt and counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.learner import Learner
from experiments.learning_loop import EVERY_PATCH, Loop, RoundResult, is_better_than_empty
from experiments.old_outlines import OldOutlines
from experiments.patch_annotator import annotate, edits
from experiments.region import Raster, Region, open_region, save_region
from imagery.aged_outlines import Ageing
from imagery.classes import CLEAN_ICE, UNKNOWN
from imagery.errors import SceneError
from imagery.grid import Window
from tests.experiments.tiny_region import PATCH_PX, TINY, raster, tiny_region

STRATEGIES = ["random", "foreground_random", "class_power_entropy", "entropy_top10"]
ICE = CLEAN_ICE.value


@pytest.fixture(scope="module")
def region() -> Region:
    return tiny_region()


@pytest.fixture(scope="module")
def results(region: Region) -> dict[str, list[RoundResult]]:
    loop = Loop(region, 0, TINY)
    return {name: loop.run(name) for name in [*STRATEGIES, EVERY_PATCH]}


def test_strategies_share_the_start_and_differ_afterwards(results: dict[str, list[RoundResult]]) -> None:
    for name in STRATEGIES:
        rounds = results[name]
        assert rounds[0] == results["random"][0]
        assert [each.labels for each in rounds] == [2, 4, 6]
        assert len({patch for each in rounds for patch in each.chosen}) == 6
        assert rounds[0].edited_pixels <= rounds[1].edited_pixels <= rounds[2].edited_pixels
        assert [each.drawn_pixels for each in rounds] == [each.edited_pixels for each in rounds]
    assert len({tuple(results[name][-1].chosen) for name in STRATEGIES}) > 1
    (every,) = results[EVERY_PATCH]
    assert every.labels == 12  # 3 x 2 and 2 x 3 patches


def test_a_run_is_the_same_when_it_is_repeated(region: Region, results: dict[str, list[RoundResult]]) -> None:
    again = Loop(region, 0, TINY).run("class_power_entropy")
    assert [each.chosen for each in again] == [each.chosen for each in results["class_power_entropy"]]
    assert [each.learner_mean_iou for each in again] == pytest.approx(
        [each.learner_mean_iou for each in results["class_power_entropy"]]
    )


def test_a_pool_of_several_scenes_tells_its_patches_apart(region: Region) -> None:
    loop = Loop(region, 0, TINY)
    candidates = [loop._candidate(number, None) for number in range(12)]
    assert [candidate.scene_id for candidate in candidates] == [0] * 6 + [1] * 6
    assert len({(each.scene_id, each.row_off, each.col_off) for each in candidates}) == 12


def test_with_strokes_fewer_pixels_are_drawn_than_edited(region: Region, results: dict[str, list[RoundResult]]) -> None:
    (mended,) = Loop(region, 0, replace(TINY, annotator="strokes", chosen_rounds=0)).run("random")
    (painted, *_) = results["random"]
    assert mended.chosen == painted.chosen
    assert 0 < mended.strokes < mended.drawn_pixels < mended.edited_pixels
    # The label is right in 97 % of the pixels: what is edited can differ by the rest of the two patches at most.
    assert abs(mended.edited_pixels - painted.edited_pixels) <= 0.03 * 2 * PATCH_PX**2


def test_strokes_stop_at_97_percent_and_leave_unknown_pixels() -> None:
    truth = np.zeros((20, 50), dtype=np.uint8)
    truth[:, :30] = ICE
    truth[:, 45:] = UNKNOWN
    looks_alike = np.zeros((1, 20, 50), dtype=np.float32)
    offered = np.where(truth == UNKNOWN, 0, truth).astype(np.uint8)
    offered[:3, 0] = 0
    learnt, effort = annotate("strokes", offered, truth, looks_alike, 3)
    assert (effort.drawn_pixels, effort.strokes, effort.edited_pixels) == (0, 0, 0)  # 3 of 900 pixels are wrong
    assert np.array_equal(learnt, np.where(truth == UNKNOWN, UNKNOWN, offered))

    learnt, effort = annotate("strokes", np.zeros_like(truth), truth, looks_alike, 3)
    judged = truth != UNKNOWN
    assert (learnt == truth)[judged].mean() >= 0.97
    assert (learnt[~judged] == UNKNOWN).all()
    assert effort.edited_pixels == (learnt[judged] == ICE).sum()


def test_the_brush_paints_exactly_what_is_wrong() -> None:
    offered = np.zeros((6, 6), dtype=np.uint8)
    drawn = offered.copy()
    drawn[0, :2] = ICE
    drawn[4:, 4:] = ICE
    drawn[2, :] = UNKNOWN
    assert edits(offered, drawn) == (6, 2)
    assert edits(drawn, drawn) == (0, 0)
    learnt, effort = annotate("brush", offered, drawn, np.zeros((1, 6, 6), dtype=np.float32), 3)
    assert np.array_equal(learnt, drawn)
    assert (effort.edited_pixels, effort.edited_areas, effort.drawn_pixels, effort.strokes) == (6, 2, 6, 2)


def test_a_pre_annotation_has_to_beat_an_empty_mask() -> None:
    assert is_better_than_empty(np.diag([50, 30, 20]))
    assert not is_better_than_empty(np.array([[0, 50, 0], [0, 0, 30], [20, 0, 0]]))


def test_a_saved_region_is_the_same_region(region: Region, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("saved")
    save_region(region, folder)
    opened = open_region(folder)
    assert opened.digest() == region.digest()
    assert (opened.name, opened.channels, opened.scheme) == (region.name, region.channels, region.scheme)
    assert isinstance(opened.parts["pool"][1].image, np.memmap)
    changed = replace(region, parts={**region.parts, "test": (raster(64, 64, 5),)})
    assert changed.digest() != region.digest()


def test_a_raster_smaller_than_a_patch_is_refused() -> None:
    small: Raster = raster(64, 64, 1).cut(Window(0, 0, 64, 20))
    with pytest.raises(SceneError, match="20 x 64 pixels"):
        small.windows(PATCH_PX)


def test_old_outlines_teach_a_version_before_any_label(region: Region, results: dict[str, list[RoundResult]]) -> None:
    outlined = Loop(region, 0, TINY, OldOutlines(share=0.5)).run("random")
    assert [each.labels for each in outlined] == [0, 2, 4, 6]
    assert outlined[0].chosen == []
    assert outlined[0].edited_pixels == 0
    assert [each.chosen for each in outlined[1:]] == [each.chosen for each in results["random"]]


def test_after_old_outlines_a_strategy_may_choose_from_the_first_round_on(region: Region) -> None:
    config = replace(TINY, start_rounds=0, chosen_rounds=1)
    assert [each.labels for each in Loop(region, 0, config, OldOutlines(share=0.5)).run("entropy_top10")] == [0, 2]
    with pytest.raises(ValueError, match="expected one of them"):
        Loop(region, 0, config).run("entropy_top10")


def test_beside_labels_a_share_of_zero_leaves_the_outlines_unlearnt(region: Region) -> None:
    def weights(share: float) -> list[torch.Tensor]:
        learner = Learner(region, 0, TINY, OldOutlines(share))
        segmenter = learner.fresh()
        learner.train(segmenter, {0: region.masks("pool").numpy()[0]}, 2, 0)
        return list(segmenter.state_dict().values())

    alone = Learner(region, 0, TINY).fresh()
    Learner(region, 0, TINY).train(alone, {0: region.masks("pool").numpy()[0]}, 2, 0)
    assert all(map(torch.equal, weights(0.0), alone.state_dict().values()))
    assert not all(map(torch.equal, weights(0.5), alone.state_dict().values()))


def test_old_outlines_are_the_truth_of_each_raster_with_a_ring_unknown(region: Region) -> None:
    masks = OldOutlines(share=0.5, ageing=Ageing()).masks(region, 0).numpy()
    truth = region.masks("pool", drawn=False).numpy()
    known = masks != UNKNOWN
    assert np.array_equal(masks[known], truth[known])
    assert not known[truth == UNKNOWN].any()
    # The first patch is ice, but for the cloud in its corner: its right-hand edge is the edge of the ice.
    assert not known[0][:, -1].any()
    assert known[0][8:, :-1].all()
