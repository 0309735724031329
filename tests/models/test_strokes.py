import numpy as np
import pytest

from models.strokes import MAX_POINTS, Similarity, Stroke, as_probabilities, repaint

ROCK, ICE = 0, 1


def stroke(value: int, *pixels: tuple[int, int]) -> Stroke:
    return Stroke(value, np.array(pixels))


def all_rock(height: int, width: int) -> np.ndarray:
    return as_probabilities(np.zeros((height, width), np.uint8), 2)


def test_without_strokes_the_proposal_stands():
    classes = np.random.default_rng(0).integers(0, 3, (9, 7)).astype(np.uint8)
    np.testing.assert_array_equal(repaint([], as_probabilities(classes, 3), []), classes)


def test_a_shown_class_has_the_stated_probability_and_the_others_share_the_rest():
    found = as_probabilities(np.array([[2, 0]], np.uint8), 3, confidence=0.8)
    np.testing.assert_allclose(found[:, 0].T, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], atol=1e-7)


def test_one_click_changes_what_the_formula_says():
    """Rock is shown with 0.8, so at the click ice lacks 0.8, which noise of 0.1 divides by 1.1.

    At a distance d, ice has 0.2 + 0.727 k and rock 0.8 - 0.727 k with k = exp(-d² / 2 · 13²): ice wins where
    k > 0.4125, that is up to d = 13 · sqrt(-2 ln 0.4125) = 17.3 pixels.
    """
    mended = repaint([], all_rock(1, 64), [stroke(ICE, (0, 10))])
    assert mended[0].tolist() == [ICE] * (10 + 17 + 1) + [ROCK] * (64 - 28)


def test_a_click_spreads_only_over_what_looks_alike():
    band = np.zeros((1, 24, 24), np.float32)
    band[0, :, 12:] = 100  # two tones, three standard deviations apart after a guide scale of 2/3
    mended = repaint([band], all_rock(24, 24), [stroke(ICE, (12, 14))], Similarity(guide=0.5))
    assert (mended[:, 12:] == ICE).all()
    assert (mended[:, :12] == ROCK).all()


def test_a_group_of_many_maps_weighs_as_much_as_one():
    tone = np.random.default_rng(1).normal(size=(1, 16, 16))
    clicks = [stroke(ICE, (8, 8))]
    one, many = (repaint([np.repeat(tone, count, axis=0)], all_rock(16, 16), clicks) for count in (1, 7))
    np.testing.assert_array_equal(one, many)


def test_what_lies_beyond_reach_stays():
    proposal = as_probabilities(np.random.default_rng(2).integers(0, 2, (20, 200)).astype(np.uint8), 2, confidence=0.51)
    before = repaint([], proposal, [])
    after = repaint([], proposal, [stroke(ICE, (10, 10))])
    np.testing.assert_array_equal(after[:, 10 + 4 * 13 + 1 :], before[:, 10 + 4 * 13 + 1 :])
    assert (after[:, :20] == ICE).all()


def test_drawn_pixels_are_kept_even_where_the_model_disagrees_and_more_are_drawn_than_it_uses():
    """Random classes on random noise are nothing that a smooth process could reproduce."""
    random = np.random.default_rng(3)
    drawn = random.integers(0, 3, (40, 40)).astype(np.uint8)
    strokes = [Stroke(value, np.argwhere(drawn == value)) for value in (0, 1, 2)]
    assert sum(len(item.pixels) for item in strokes) > MAX_POINTS
    proposal = random.dirichlet([1, 1, 1], (40, 40)).transpose(2, 0, 1)
    mended = repaint([random.normal(size=(2, 40, 40))], proposal, strokes)
    np.testing.assert_array_equal(mended, drawn)
    np.testing.assert_array_equal(repaint([random.normal(size=(2, 40, 40))], proposal, strokes), drawn)


def test_the_same_strokes_give_the_same_map():
    random = np.random.default_rng(4)
    guides, proposal = [random.normal(size=(5, 30, 30))], random.dirichlet([1, 1], (30, 30)).transpose(2, 0, 1)
    strokes = [stroke(ICE, (3, 3), (4, 4)), stroke(ROCK, (20, 20))]
    np.testing.assert_array_equal(repaint(guides, proposal, strokes), repaint(guides, proposal, strokes))


def test_where_strokes_overlap_the_later_one_counts():
    strokes = [stroke(ICE, (2, 2), (2, 3)), stroke(ROCK, (2, 3), (2, 4))]
    mended = repaint([], all_rock(6, 6), strokes)
    assert mended[2, 2:5].tolist() == [ICE, ROCK, ROCK]


def test_gaps_and_constant_maps_tell_no_pixels_apart():
    random = np.random.default_rng(5)
    band = random.normal(size=(1, 12, 12)).astype(np.float32)
    nothing = np.full((1, 12, 12), np.nan, np.float32)
    constant = np.full((1, 12, 12), 7.0, np.float32)
    clicks = [stroke(ICE, (6, 6))]
    plain = repaint([], all_rock(12, 12), clicks)
    np.testing.assert_array_equal(repaint([nothing, constant], all_rock(12, 12), clicks), plain)
    band[0, :3] = np.nan
    assert repaint([band], all_rock(12, 12), clicks)[6, 6] == ICE


@pytest.mark.parametrize(
    ("guides", "strokes", "message"),
    [
        ([np.zeros((1, 5, 6))], [stroke(ICE, (0, 0))], r"shapes \[\(1, 5, 6\)\]; expected \(C, 6, 6\)"),
        ([], [stroke(2, (0, 0))], "class 2; expected 0 to 1"),
        ([], [stroke(ICE, (0, 6))], "leaves the map; expected pixels within 6 x 6"),
        ([], [stroke(ICE, (-1, 0))], "leaves the map"),
    ],
)
def test_what_does_not_fit_is_refused(guides, strokes, message):
    with pytest.raises(ValueError, match=message):
        repaint(guides, all_rock(6, 6), strokes)
