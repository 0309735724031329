import numpy as np
import pytest
from scipy import stats

from models import score_ratios
from models.bootstrap import bootstrap_interval


def patches(count: int, seed: int = 0) -> np.ndarray:
    """Binary confusion matrices of 100 pixels each, of differing quality."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet((8, 1, 2, 5), size=count)
    return np.stack([generator.multinomial(100, share) for share in shares]).reshape(count, 2, 2)


def test_patches_that_agree_leave_no_doubt():
    same = np.repeat([[[5, 1], [2, 4]]], 10, axis=0)
    interval = bootstrap_interval(same, score_ratios.iou, np.random.default_rng(0))
    assert interval.low == pytest.approx([5 / 8, 4 / 7])
    assert interval.high == pytest.approx([5 / 8, 4 / 7])
    assert interval.defined.tolist() == [1.0, 1.0]


def test_two_patches_give_the_three_pools_there_are():
    """All right and all wrong: pools have accuracy 0, 1/2, 1 with chances 1/4, 1/2, 1/4; the middle 40 % are 1/2."""
    two = np.array([[[4, 0], [0, 0]], [[0, 4], [0, 0]]])
    interval = bootstrap_interval(two, score_ratios.overall_accuracy, np.random.default_rng(0), confidence=0.4)
    assert (float(interval.low), float(interval.high)) == (0.5, 0.5)
    wide = bootstrap_interval(two, score_ratios.overall_accuracy, np.random.default_rng(0), confidence=0.95)
    assert (float(wide.low), float(wide.high)) == (0.0, 1.0)


def test_agrees_with_scipy():
    matrices = patches(40)
    ours = bootstrap_interval(
        matrices, lambda c: score_ratios.iou(c)[..., 1], np.random.default_rng(0), resamples=10_000
    )
    theirs = stats.bootstrap(
        (np.arange(40),),
        lambda index, axis: score_ratios.iou(matrices[index].sum(axis=axis - 2))[..., 1],  # the axes of a matrix follow
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (float(ours.low), float(ours.high)) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_seed_decides():
    first, second, other = (
        bootstrap_interval(patches(20), score_ratios.kappa, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert float(first.low) == float(second.low)
    assert float(first.low) != float(other.low)


def test_more_patches_less_doubt():
    """Sixteen times the patches, about a quarter of the width."""
    few, many = (
        bootstrap_interval(patches(count), score_ratios.overall_accuracy, np.random.default_rng(0))
        for count in (25, 400)
    )
    assert float(many.high - many.low) == pytest.approx(float(few.high - few.low) / 4, rel=0.5)


def test_resamples_without_the_class_are_left_out_and_told():
    """One patch of two has class 1, and is right: a quarter of the resamples lack it; the others score 1."""
    two = np.array([[[4, 0], [0, 0]], [[3, 0], [0, 1]]])
    interval = bootstrap_interval(two, score_ratios.iou, np.random.default_rng(0), resamples=4000)
    assert interval.low.tolist() == [1.0, 1.0]
    assert interval.defined[1] == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("count", [0, 3])
def test_what_no_resample_defines_is_nan(count):
    interval = bootstrap_interval(np.zeros((count, 2, 2), np.int64), score_ratios.iou, np.random.default_rng(0))
    assert np.isnan(interval.low).all()
    assert np.isnan(interval.high).all()
    assert interval.defined.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("resamples", "confidence"), [(0, 0.95), (10, 0.0), (10, 1.0), (10, 95.0)])
def test_impossible_requests_are_refused(resamples, confidence):
    with pytest.raises(ValueError, match="expected at least 1 of each and a number between 0 and 1"):
        bootstrap_interval(patches(3), score_ratios.iou, np.random.default_rng(0), resamples, confidence)


def test_fewer_draws_widen_the_interval() -> None:
    """The spread of a mean of n draws falls with the root of n: a quarter of the draws gives twice the width."""
    counts = patches(100)
    widths = []
    for draws in (100, 25):
        found = bootstrap_interval(counts, score_ratios.overall_accuracy, np.random.default_rng(0), 4000, draws=draws)
        widths.append(float(found.high - found.low))
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)
