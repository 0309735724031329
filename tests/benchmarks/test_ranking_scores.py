import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.ranking_scores import RANGES, PoolScores, score_pool
from models.mc_dropout import predict_mc
from models.measures import MEASURES, score_patch
from models.segmenter import GlacierSegmenter, build_segmenter
from models.unet import UNetConfig


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def segmenter() -> GlacierSegmenter:
    shape = UNetConfig(in_channels=2, depth=1, width=10, dropout=0.1, normalization="batch")
    return build_segmenter(["red", "nir"], [0.0, 0.0], [1.0, 1.0], shape, seed=0)


@pytest.fixture(scope="module")
def scores(segmenter: GlacierSegmenter, images: Tensor) -> PoolScores:
    return score_pool(segmenter, images, runs=2, reference=6)


def test_every_design_has_its_runs_and_independent_masks_twice_as_many(scores: PoolScores) -> None:
    shapes = {name: runs.shape for name, runs in scores.runs.items()}
    tail = (len(RANGES), len(MEASURES), 3)
    assert shapes == {"balanced": (2, *tail), "latin": (2, *tail), "even": (2, *tail), "independent": (4, *tail)}


def test_runs_are_put_together_as_far_as_there_are_enough_for_two(scores: PoolScores) -> None:
    assert {passes: runs.shape for passes, runs in scores.longer.items()} == {80: (2, len(MEASURES), 3)}


def test_a_whole_run_of_the_default_masks_scores_as_the_system_does(
    scores: PoolScores, segmenter: GlacierSegmenter, images: Tensor
) -> None:
    prediction = predict_mc(segmenter, images, 40, 1, torch.bfloat16)
    for patch in range(3):
        maps = {
            "predictive_entropy": prediction.predictive_entropy[patch].numpy(),
            "mutual_information": prediction.mutual_information[patch].numpy(),
        }
        expected = score_patch(maps, np.ones((8, 8), dtype=bool))
        found = scores.runs["balanced"][1, RANGES.index((0, 40)), :, patch]
        assert found == pytest.approx([expected[measure] for measure in MEASURES], abs=1e-4)


def test_one_pass_without_dropout_knows_no_mutual_information(scores: PoolScores) -> None:
    by_measure = dict(zip(MEASURES, scores.certain, strict=True))
    assert (by_measure["mutual_information"] == 0.0).all()
    assert (by_measure["entropy_top10"] >= by_measure["entropy_mean"]).all()
