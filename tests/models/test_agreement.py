import numpy as np
import pytest

from models.agreement import top_agreement


def test_agreement_is_the_share_of_the_top_tenth_in_common():
    one = np.arange(30.0)  # top three: 27, 28, 29
    other = one.copy()
    other[27] = 0.0  # top three: 26, 28, 29
    assert top_agreement(one, one) == 1.0
    assert top_agreement(one, other) == pytest.approx(2 / 3)
    assert top_agreement(one, -one) == 0.0


def test_only_the_order_of_the_scores_counts():
    scores = np.random.default_rng(0).random(200)
    assert top_agreement(scores, np.exp(3 * scores) - 7) == 1.0


def test_by_chance_the_agreement_is_the_share():
    generator = np.random.default_rng(0)
    found = [top_agreement(generator.random(100), generator.random(100)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.1, abs=0.01)


def test_patches_of_equal_score_do_not_make_rankings_differ():
    scores = np.zeros(40)  # as of nodata
    assert top_agreement(scores, scores.copy()) == 1.0


def test_too_few_patches_have_no_top_tenth():
    assert top_agreement(np.arange(9.0), np.arange(9.0)) is None


def test_scores_of_other_patches_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        top_agreement(np.zeros(3), np.zeros(4))


def test_the_top_tenth_of_a_pool_of_which_the_highest_are_given():
    one, other = np.arange(30.0), np.arange(30.0)
    other[[28, 0]] = other[[0, 28]]
    assert top_agreement(one, other) == pytest.approx(2 / 3)
    assert top_agreement(one, other, pool=100) == pytest.approx(9 / 10)
    assert top_agreement(one, other, pool=150) == pytest.approx(14 / 15)
    assert top_agreement(one, other, pool=160) is None  # chance alone would have them agree on half
