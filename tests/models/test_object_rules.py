import math

import numpy as np
import pytest

from models.object_rules import Rule, _best_interval, _rules, tune

UNKNOWN = 255
INF = math.inf


def test_a_missing_mean_fits_only_where_nothing_is_tested():
    means = np.array([[0.5, np.nan], [np.nan, 1.0], [0.2, 1.0]])
    assert Rule((0.4, -INF), (INF, INF)).fits(means).tolist() == [True, False, False]
    assert Rule((-INF, -INF), (INF, INF)).fits(means).tolist() == [True, True, True]
    assert Rule((0.1, 0.9), (0.3, 1.1)).fits(means).tolist() == [False, False, True]


def test_the_best_interval_is_the_best_of_all_pairs():
    """Against plain loops over all pairs of values, of fewer objects than candidate thresholds."""
    generator = np.random.default_rng(0)
    for _ in range(5):
        values = generator.integers(0, 12, 30).astype(float)
        judged = generator.integers(1, 9, 30).astype(float)
        hits = np.floor(judged * generator.random(30) * (np.abs(values - 5) < 3))
        total = hits.sum() + 4
        score, low, high = _best_interval(values, hits, judged, total)
        tried = {
            (a, b): hits[taken].sum() / (judged[taken].sum() + total - hits[taken].sum())
            for a in values
            for b in values
            if (taken := (values >= a) & (values <= b)).any()
        }
        assert score == pytest.approx(max(tried.values()))
        taken = (values >= low) & (values <= high)
        assert hits[taken].sum() / (judged[taken].sum() + total - hits[taken].sum()) == pytest.approx(score)


def test_later_classes_are_mapped_among_the_objects_that_are_left():
    """Three objects of 10 px: clean, clean with 4 px of debris, debris; one feature. The 4 px of debris are missed."""
    means = np.array([[3.0], [2.0], [1.0]])
    counts = np.array([[10.0, 0.0, 10.0], [6.0, 4.0, 10.0], [0.0, 10.0, 10.0]])
    (clean, debris), score = _rules(means, counts)
    assert clean.fits(means).tolist() == [True, True, False]
    assert debris.fits(means)[2]
    assert score == pytest.approx((16 / 20 + 10 / 14) / 2)


def world(seed: int, side: int = 48):
    """Patches of 16 px squares: ice of high snow index below 40 degrees, debris where it is low and flat, else rock."""
    generator = np.random.default_rng(seed)
    ndsi = generator.choice([-0.2, 0.7], (3, 3))
    slope = generator.choice([8.0, 30.0, 55.0], (3, 3))
    truth = np.where(ndsi > 0, np.where(slope < 40, 1, 0), np.where(slope < 12, 2, 0))
    large = np.ones((side // 3, side // 3))
    noise = generator.normal(0, 0.02, (2, side, side))
    features = (np.stack([np.kron(ndsi, large), np.kron(slope, large)]) + noise).astype(np.float32)
    bands = (np.stack([features[0] * 100 + 50, features[1] * 3, features[0] * 7]) + 20).astype(np.float32)
    return (bands, np.kron(truth, large).astype(np.uint8)), features


def test_the_thresholds_that_made_the_truth_are_found():
    patches = [world(seed) for seed in range(6)]
    bands = np.stack([bands for (bands, _), _ in patches])
    tuned = tune(patches, bands.mean(axis=(0, 2, 3)).tolist(), bands.std(axis=(0, 2, 3)).tolist(), (1, 2), UNKNOWN)
    clean, debris = (rule for _, rule in tuned.rules)
    assert -0.2 < clean.low[0] <= 0.71  # between rock or debris, and ice
    assert 29.0 < clean.high[1] < 55.1
    assert 7.9 < debris.high[1] < 30.1
    (unseen_bands, truth), features = world(99)
    predicted = tuned.predict(unseen_bands, features)
    assert (predicted == truth).mean() > 0.97  # all but some pixels on the edges of squares
    assert {0, 1, 2} == set(np.unique(predicted))


def test_unjudged_pixels_do_not_decide():
    """Half of each patch lies: it says ice everywhere, but nobody judged it."""
    patches = []
    for seed in range(4):
        (bands, mask), features = world(seed)
        lying = mask.copy()
        lying[:, 16:32] = UNKNOWN
        patches.append(((bands, lying), features))
    statistics = [0.0, 0.0, 0.0], [50.0, 50.0, 5.0]
    tuned = tune(patches, *statistics, (1, 2), UNKNOWN)
    (bands, truth), features = world(99)
    assert (tuned.predict(bands, features) == truth).mean() > 0.97


def test_without_patches_there_is_nothing_to_tune_on():
    with pytest.raises(ValueError, match="no patch to tune the rules on"):
        tune([], [], [], (1, 2), UNKNOWN)
