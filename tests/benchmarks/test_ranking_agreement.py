"""The guard of the default scoring, on scores whose ranking is plain: patch 0 scores highest, patch 99 lowest."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.ranking_agreement import (
    ENTRY_COST,
    PASSES,
    SHORTLIST_SHARE,
    PoolScores,
    Scores,
    agreement,
    broken_decisions,
    draw_independent,
    judge,
    own_masks,
    score_pool,
    shortlist,
    variance_between_runs,
)
from models.mc_dropout import predict_mc
from models.measures import MEASURES, score_patch
from models.segmenter import build_segmenter
from models.unet import UNetConfig

PATCHES, RUNS, SHARE = 100, 40, 0.2
TRUTH = np.linspace(1.0, 0.0, PATCHES)
OF_MEASURES = np.tile(TRUTH, (len(MEASURES), 1))
ENTROPIES = ("entropy_top10", "entropy_mean")


def runs_with(noise: float, seed: int) -> Scores:
    return OF_MEASURES + noise * np.random.default_rng(seed).normal(size=(RUNS, *OF_MEASURES.shape))


@pytest.fixture
def pool() -> PoolScores:
    """Independent masks have three times the noise of balanced ones: nine times the variance."""
    return PoolScores(OF_MEASURES, OF_MEASURES, runs_with(0.03, 0), runs_with(0.01, 1))


def test_while_the_decisions_hold_nothing_is_reported(pool: PoolScores) -> None:
    rows = judge([pool])
    assert [row["measure"] for row in rows] == list(MEASURES)
    assert [row["variance ratio"] for row in rows] == pytest.approx([9.0] * len(MEASURES), rel=0.3)
    assert [row["shortlist"] for row in rows] == [row["balanced"] for row in rows]
    # A pass and 20 on a fifth of the patches; each stage reads the patches anew.
    expected = 1 + ENTRY_COST + SHORTLIST_SHARE * (PASSES + ENTRY_COST)
    assert [row["shortlist cost"] for row in rows] == pytest.approx([expected] * len(MEASURES))
    assert broken_decisions(rows) == []


def test_masks_that_are_no_longer_balanced_are_reported(pool: PoolScores) -> None:
    broken = broken_decisions(judge([replace(pool, balanced=runs_with(0.03, 2))]))
    assert [line.split(", ")[0][:-4] for line in broken] == [f"{name}: variance ratio " for name in ENTROPIES]


def test_a_biased_ranking_is_reported_however_steady_it_is(pool: PoolScores) -> None:
    biased = pool.balanced[:, :, ::-1]
    broken = broken_decisions(judge([replace(pool, balanced=biased)]))
    assert [line for line in broken if "balanced passes find 0.00, expected at least 0.85" in line]


def test_a_shortlist_without_the_best_patches_is_reported(pool: PoolScores) -> None:
    broken = broken_decisions(judge([replace(pool, screening=OF_MEASURES[:, ::-1])]))
    assert len(broken) == 2
    assert all("the shortlist loses" in line and "expected at most 0.15" in line for line in broken)


def test_figures_are_means_over_the_networks(pool: PoolScores) -> None:
    worse = replace(pool, balanced=runs_with(0.03, 2))
    one, other, both = (judge(pools)[0] for pools in ([pool], [worse], [pool, worse]))
    assert both["balanced"] == pytest.approx((one["balanced"] + other["balanced"]) / 2)
    assert both["variance ratio"] == pytest.approx((one["variance ratio"] * other["variance ratio"]) ** 0.5)


def test_agreement_is_the_mean_share_of_the_top_tenth() -> None:
    swapped = TRUTH.copy()
    swapped[[0, 50]] = swapped[[50, 0]]  # one of the ten best patches falls out
    assert agreement(np.stack([TRUTH, swapped]), TRUTH) == pytest.approx((1.0 + 0.9) / 2)


def test_agreement_needs_a_top_tenth() -> None:
    with pytest.raises(ValueError, match="found 9 patches, which have no top tenth"):
        agreement(TRUTH[None, :9], TRUTH[:9])


def test_a_shift_of_all_patches_is_no_variance_of_the_ranking() -> None:
    assert variance_between_runs(np.stack([TRUTH, TRUTH + 1.0]), TRUTH) == pytest.approx(0.0)
    lower = TRUTH + np.where(np.arange(PATCHES) < 30, 0.0, 0.001)  # beyond the upper three tenths
    assert variance_between_runs(np.stack([TRUTH, lower]), TRUTH) == pytest.approx(0.0)


def test_own_masks_bring_back_what_common_masks_do_to_all_patches_alike() -> None:
    common = np.arange(float(RUNS))[:, None] + TRUTH  # each run moves all patches by the same
    shuffled = own_masks(common)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(common, axis=0))
    assert variance_between_runs(common, TRUTH) == pytest.approx(0.0)
    assert variance_between_runs(shuffled, TRUTH) > 1.0


def test_the_shortlist_takes_the_share_of_either_entropy() -> None:
    by_measure = {"entropy_top10": TRUTH, "entropy_mean": TRUTH[::-1]}
    listed = shortlist(np.stack([by_measure.get(measure, np.zeros(PATCHES)) for measure in MEASURES]), SHARE)
    assert np.flatnonzero(listed).tolist() == [*range(20), *range(80, 100)]


def test_independent_masks_drop_each_map_with_the_probability_of_the_network() -> None:
    maps = ([torch.arange(40), torch.arange(20)],)
    masks = draw_independent(maps, 0.1, 500, torch.Generator().manual_seed(0))
    kept = np.array([[len(layer) for layer in network] for (network,) in masks])
    assert kept.mean(axis=0) == pytest.approx([36.0, 18.0], abs=0.3)
    # Binomial(40, 0.1) has the variance 3.6; balanced masks would drop four maps in every pass.
    assert kept[:, 0].var() == pytest.approx(3.6, rel=0.2)


def test_balanced_runs_score_as_the_workers_do_and_screening_has_no_mutual_information() -> None:
    shape = UNetConfig(in_channels=2, depth=1, width=10, dropout=0.1, normalization="batch")
    segmenter = build_segmenter(["red", "nir"], [0.0, 0.0], [1.0, 1.0], shape, seed=0)
    images = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = score_pool(segmenter, images, reference_passes=6, runs=2)
    shapes = [part.shape for part in (scores.reference, scores.screening, scores.independent, scores.balanced)]
    assert shapes == [(5, 3), (5, 3), (2, 5, 3), (2, 5, 3)]  # five measures of three patches
    prediction = predict_mc(segmenter, images, PASSES, 1, torch.bfloat16)
    for patch in range(3):
        maps = {name: of_all[patch].numpy() for name, of_all in prediction.maps().items()}
        expected = score_patch(maps, np.ones((8, 8), dtype=bool))
        assert scores.balanced[1, :, patch] == pytest.approx([expected[measure] for measure in MEASURES])
    by_measure = dict(zip(MEASURES, scores.screening, strict=True))
    assert by_measure["mutual_information"] == pytest.approx(0.0, abs=1e-6)
    assert (by_measure["entropy_mean"] > 0.0).all()
