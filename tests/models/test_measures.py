import numpy as np
import pytest

from models.measures import profile_patch, reduce_mean, reduce_top_share, score_patch

ALL = np.ones((4, 5), dtype=bool)


def one_to_twenty() -> np.ndarray:
    return np.arange(1.0, 21.0, dtype=np.float32).reshape(4, 5)


def test_mean():
    assert reduce_mean(one_to_twenty(), ALL) == pytest.approx(10.5)


@pytest.mark.parametrize(("share", "expected"), [(0.10, 19.5), (0.11, 19.0), (0.01, 20.0), (1.0, 10.5)])
def test_top_share_averages_the_highest_pixels_rounded_up(share, expected):
    assert reduce_top_share(one_to_twenty(), ALL, share) == pytest.approx(expected)


@pytest.mark.parametrize("reduce", [reduce_mean, reduce_top_share])
@pytest.mark.parametrize("how", ["masked", "nan"])
def test_invalid_pixels_count_as_zero_over_the_full_patch(reduce, how):
    """One pixel of 1 nat among twenty: mean 1/20, and 1/2 over the two pixels of the top tenth."""
    uncertainty, valid = np.ones((4, 5)), ALL.copy()
    if how == "masked":
        valid.flat[1:] = False
    else:
        uncertainty.flat[1:] = np.nan
    assert reduce(uncertainty, valid) == pytest.approx(0.05 if reduce is reduce_mean else 0.5)


def test_patch_without_a_valid_pixel_scores_zero():
    nothing = np.full((4, 5), np.nan)
    assert reduce_mean(nothing, ~ALL) == reduce_top_share(nothing, ~ALL) == 0.0


def test_small_uncertain_glacier_outranks_faint_doubt_everywhere_only_in_the_top_share():
    glacier, faint = np.zeros((10, 10)), np.full((10, 10), 0.1)
    glacier[:3, :3] = 1.0
    valid = np.ones((10, 10), dtype=bool)
    assert reduce_top_share(glacier, valid) > reduce_top_share(faint, valid)
    assert reduce_mean(glacier, valid) < reduce_mean(faint, valid)


def test_registry_reads_the_right_map():
    maps = {
        "predictive_entropy": one_to_twenty(),
        "mutual_information": one_to_twenty() / 100,
        "margin": one_to_twenty() / 20,
        "variance": one_to_twenty() / 200,
    }
    assert score_patch(maps, ALL) == pytest.approx(
        {
            "entropy_top10": 19.5,
            "entropy_mean": 10.5,
            "mutual_information": 0.105,
            "margin_top10": 0.975,
            "variance_top10": 0.0975,
        }
    )


def test_a_profile_tells_the_foreground_and_where_each_class_is_uncertain():
    """Of 20 pixels 5 are more probably foreground, one of them without data; each class is uncertain in two pixels."""
    probability = np.zeros((3, 4, 5), dtype=np.float32)
    probability[0] = 1.0
    probability[:, 0, :] = np.array([0.4, 0.6, 0.0])[:, None]
    probability[:, 3, :2] = np.array([0.75, 0.0, 0.25])[:, None]
    entropy, valid = np.full((4, 5), 0.5, dtype=np.float32), ALL.copy()
    valid[0, 4] = False
    entropy[0, 3] = np.nan
    profile = profile_patch(probability, entropy, valid)
    assert profile.foreground_share == pytest.approx(4 / 20)
    np.testing.assert_allclose(profile.class_entropy, [0.5 * 0.6, 0.5 * 0.25], rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4), (0, 0)])
def test_shapes_must_agree_and_not_be_empty(shape):
    with pytest.raises(ValueError, match="they must agree and not be empty"):
        reduce_mean(np.zeros(shape), np.zeros((0, 0), dtype=bool))


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        reduce_top_share(one_to_twenty(), ALL, share)
