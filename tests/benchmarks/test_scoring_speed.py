import math

import pytest
import torch

from benchmarks.plain_dropout import naive, replicated
from benchmarks.scoring_speed import speed_rows
from tests.models.networks import raw_images, small_segmenter

PASSES = 5


def test_ratios_to_the_plain_methods_are_taken_in_each_round():
    seconds = {"naive loop": [4.0, 8.0, 6.0], "replicated in memory": [8.0, 8.0, 9.0], "ours": [2.0, 2.0, 2.0]}
    rows = {row["method"]: row for row in speed_rows(seconds, "1 x 512 px", "memory kept")}
    assert rows["ours"]["seconds"] == 2.0
    assert rows["ours"]["x naive"] == 3.0  # of 2, 4 and 3
    assert rows["ours"]["x replicated"] == 4.0  # of 4, 4 and 4.5
    assert rows["naive loop"]["x naive"] == 1.0


def test_a_plain_method_that_was_not_measured_has_no_ratio():
    (row,) = speed_rows({"naive loop": [1.0]}, "256 x 64 px", "memory kept")
    assert row["x replicated"] is None


@pytest.mark.parametrize("method", [naive, replicated])
def test_plain_methods_draw_masks_for_each_patch_and_pass(method):
    segmenter = small_segmenter()
    images = raw_images(1).repeat(2, 1, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prediction = method(segmenter, images, PASSES)
    mean, entropy, information = (
        prediction.mean_probability,
        prediction.predictive_entropy,
        prediction.mutual_information,
    )
    assert mean.shape == (2, 3, 16, 24)
    torch.testing.assert_close(mean.sum(dim=1), torch.ones(2, 16, 24))
    assert entropy.max() <= math.log(3) + 1e-6
    assert information.max() > 1e-3  # the passes disagree
    assert not torch.allclose(mean[0], mean[1], atol=1e-3)  # and so do two copies of a patch
    assert not segmenter.training


@pytest.mark.parametrize("method", [naive, replicated])
def test_plain_methods_give_full_entropy_for_an_undecided_network(method):
    segmenter = small_segmenter()
    torch.nn.init.zeros_(segmenter.unet.head.weight)
    prediction = method(segmenter, raw_images(), PASSES)
    torch.testing.assert_close(prediction.predictive_entropy, torch.full((3, 16, 24), math.log(3)))
    assert prediction.mutual_information.max() <= 1e-6
