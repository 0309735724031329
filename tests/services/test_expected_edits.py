"""Expected edits of maps that a reader can add up."""

import numpy as np
import pytest

from services.expected_edits import ExpectedEdits, PatchMaps, decode_probability, encode_probability

UNKNOWN = 255
ALL = np.ones((2, 2), np.bool_)


def maps() -> PatchMaps:
    """Background, surely; ice, 3 in 4; debris, half; no data."""
    return PatchMaps(
        np.array([[0, 1], [2, UNKNOWN]], np.uint8),
        np.array([[0.0, 0.25], [0.5, np.nan]]),
        np.array([[0.0, 0.875], [0.75, np.nan]]),
    )


def test_an_empty_mask_is_wrong_where_there_is_foreground():
    assert maps().from_empty(ALL) == 0.875 + 0.75


def test_the_proposal_is_wrong_where_its_class_is():
    assert maps().from_proposal(maps().classes, ALL) == 0.25 + 0.5


def test_only_what_is_asked_for_counts():
    asked = np.array([[False, True], [False, True]])
    assert (maps().from_empty(asked), maps().from_proposal(maps().classes, asked)) == (0.875, 0.25)
    assert maps().judged(asked).tolist() == [[False, True], [False, False]]


def test_where_specks_were_removed_the_class_shown_counts():
    without = np.array([[0, 0], [1, 0]], np.uint8)  # ice taken out; debris shown as ice: right if the map is wrong
    assert maps().from_proposal(without, ALL) == 0.0 + 0.875 + 0.5


@pytest.mark.parametrize(
    ("empty", "proposal", "pays"), [(10.0, 9.0, True), (10.0, 10.0, False), (10.0, 11.0, False), (10.0, None, False)]
)
def test_a_proposal_pays_where_it_saves_edits(empty, proposal, pays):
    edits = ExpectedEdits(model_version=1, screening=False, asked_px=99, from_empty_px=empty, from_proposal_px=proposal)
    assert edits.proposal_pays is pays


def test_small_probabilities_are_stored_too():
    """In steps of 1/254 the first would be 0, and a patch of them would seem to need no edit."""
    given = np.array([0.001, 0.01, 0.5, 1.0, 0.0])
    stored = encode_probability(given)
    assert stored.tolist() == [8, 25, 180, 254, 0]
    np.testing.assert_allclose(decode_probability(stored), given, rtol=0.04)
    assert np.isnan(decode_probability(np.array([UNKNOWN], np.uint8))).all()
