import math

import numpy as np
import pytest

from models.baselines import fit_baseline
from models.importance import FOREST_IMPORTANCE_THRESHOLD, forest_importance, permutation_importance
from models.pixels import sample_pixels
from tests.models.pixel_worlds import IGNORE, separable_patches

CHANNELS = ("brightness", "noise", "temperature")


def truth_of(raw):
    """The rule that `separable_patches` are labelled by; nodata fails every comparison."""
    return np.where(raw[0] > 0.5, 1, np.where(raw[2] > 10, 2, 0)).astype(np.uint8)


@pytest.fixture(scope="module")
def forest():
    return fit_baseline("random_forest", sample_pixels(separable_patches(), 1500, IGNORE, seed=0), seed=0)


def mean_iou(scores):
    return scores.mean_iou


def test_informative_channels_rank_above_noise(forest):
    importance = permutation_importance(forest.predict, separable_patches(2, seed=9), CHANNELS, 3, IGNORE, seed=0)
    drops = importance.drops(mean_iou)
    assert [row.channel for row in drops.ranked()] == ["brightness", "temperature", "noise"]
    assert abs(drops.values[1]) < 0.02


def test_an_unused_channel_has_importance_zero_exactly():
    drops = permutation_importance(truth_of, separable_patches(1), CHANNELS, 3, IGNORE, seed=0).drops(mean_iou)
    assert (drops.values[1], drops.spreads[1]) == (0.0, 0.0)


def test_the_drop_is_that_of_a_channel_that_says_nothing_any_more():
    """Half of the pixels are class 1 by brightness alone. Permuted, TP are 1/4 of all, FP 1/4, FN 1/4: IoU 1/3."""
    patches = separable_patches(4, size=40)
    drops = permutation_importance(truth_of, patches, CHANNELS, 3, IGNORE, seed=0).drops(lambda scores: scores.iou[1])
    assert drops.values == pytest.approx((1 - 1 / 3, 0.0, 0.0), abs=0.02)


def test_values_are_permuted_across_all_patches_and_nodata_stays_in_place():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 2, 6, 7)).astype(np.float32)
    first[0, :2] = np.nan
    patches = [(image, np.zeros((6, 7), dtype=np.uint8)) for image in (first, second)]
    seen = []

    def watch(raw):
        seen.append(raw.copy())
        return np.zeros(raw.shape[1:], dtype=np.uint8)

    permutation_importance(watch, patches, ("a", "b"), 2, IGNORE, seed=0, repeats=1)
    permuted = seen[:2]  # the first channel comes first, both patches of it
    np.testing.assert_array_equal(np.isnan(permuted[0]), np.isnan(first))
    np.testing.assert_array_equal(permuted[0][1], first[1])
    before, after = (
        np.concatenate([image[0][~np.isnan(image[0])] for image in images]) for images in ([first, second], permuted)
    )
    np.testing.assert_array_equal(np.sort(before), np.sort(after))
    assert np.isin(permuted[0][0], second[0]).any(), "no value of the second patch went to the first"
    assert not np.isnan(first[1]).any(), "the caller's images must stay whole"


def test_permutations_depend_on_the_seed_and_not_on_the_number_of_repeats():
    patches = separable_patches(1)
    few, many, other = (
        permutation_importance(truth_of, patches, CHANNELS, 3, IGNORE, seed, repeats)
        for seed, repeats in ((1, 2), (1, 3), (2, 2))
    )
    np.testing.assert_array_equal(few.permuted, many.permuted[:, :2])
    assert not np.array_equal(few.permuted, other.permuted)


def test_counts_are_pooled_over_judged_pixels():
    patches = separable_patches(2, size=10)
    patches[0][1][:5] = IGNORE
    importance = permutation_importance(truth_of, patches, CHANNELS, 3, IGNORE, seed=0, repeats=2)
    assert importance.unpermuted.sum() == 150
    assert importance.permuted.shape == (3, 2, 3, 3)
    assert (importance.permuted.sum(axis=(2, 3)) == 150).all()


def test_the_drop_of_an_undefined_score_is_nan():
    """A fourth class that neither truth nor prediction holds has no IoU."""
    importance = permutation_importance(truth_of, separable_patches(1), CHANNELS, 4, IGNORE, seed=0, repeats=2)
    assert all(math.isnan(value) for value in importance.drops(lambda scores: scores.iou[3]).values)


def test_forest_importance_sums_to_one_and_noise_is_below_the_line_of_the_paper(forest):
    scores = forest_importance(forest, CHANNELS)
    assert sum(scores.values) == pytest.approx(1.0)
    assert scores.above(FOREST_IMPORTANCE_THRESHOLD) == ("brightness", "temperature")
    assert FOREST_IMPORTANCE_THRESHOLD == 0.05


def test_forest_importance_is_that_of_scikit_learn(forest):
    assert forest_importance(forest, CHANNELS).values == pytest.approx(forest.model.feature_importances_)


def test_misuse_is_refused_with_advice(forest):
    patches = separable_patches(1)
    with pytest.raises(ValueError, match=r"the images have \[3\] channels; the names are 2: a, b"):
        permutation_importance(truth_of, patches, ("a", "b"), 3, IGNORE, seed=0)
    with pytest.raises(ValueError, match="0 patches and 5 repeats"):
        permutation_importance(truth_of, [], CHANNELS, 3, IGNORE, seed=0)
    with pytest.raises(ValueError, match="fitted on 3 channels; found the names a, b"):
        forest_importance(forest, ("a", "b"))
    boosting = fit_baseline("gradient_boosting", sample_pixels(patches, 200, IGNORE, seed=0), seed=0)
    with pytest.raises(ValueError, match="gradient_boosting has no impurity"):
        forest_importance(boosting, CHANNELS)
