import numpy as np

from experiments.simulated_strokes import Session, draw_session, next_stroke
from imagery.classes import UNKNOWN

ROCK, ICE, DEBRIS = 0, 1, 2


def a_truth() -> np.ndarray:
    """Ice on 7 rows and 20 columns; two pixels of debris; a column that nobody can judge."""
    truth = np.zeros((20, 30), np.uint8)
    truth[4:11, 5:25] = ICE
    truth[15, 2:4] = DEBRIS
    truth[:, 29] = UNKNOWN
    return truth


def test_the_annotator_draws_along_the_middle_of_the_largest_wrong_area():
    truth = a_truth()
    stroke = next_stroke(np.zeros_like(truth), truth, "stroke")
    assert stroke.value == ICE
    assert set(stroke.pixels[:, 0]) == {7}  # three pixels from above and from below: the deepest row
    assert (
        len(stroke.pixels) == 16
    )  # 12 to the right of the deepest pixel (column 8), 3 to the left, where the ice ends
    (click,) = next_stroke(np.zeros_like(truth), truth, "click").pixels
    assert click.tolist() == [7, 8]


def test_with_the_brush_alone_every_drawn_pixel_corrects_one():
    truth = a_truth()
    session, shown = draw_session(np.zeros_like(truth), truth, None, "stroke", 100, enough=1.0)
    assert np.array_equal(shown[:, :29], truth[:, :29])
    assert session.judged == 20 * 29
    assert [wrong + drawn for wrong, drawn in zip(session.errors, session.drawn, strict=True)] == [142] * len(
        session.errors
    )
    assert session.errors[-1] == 0


def test_a_mending_that_knows_the_truth_needs_one_click():
    truth = a_truth()
    session, _ = draw_session(np.zeros_like(truth), truth, lambda _: truth.copy(), "click", 100, enough=1.0)
    assert (session.errors, session.drawn) == ([142, 0], [0, 1])


def test_effort_counts_strokes_to_the_target_and_the_exact_brush_for_what_they_leave():
    session = Session(errors=[40, 25, 12, 12], drawn=[0, 10, 20, 30], judged=100)
    assert session.effort(0.75) == (10, 1, True)
    drawn, strokes, sufficed = session.effort(0.9)
    assert (round(drawn, 6), strokes, sufficed) == (32, 3, False)  # 2 more pixels than the 10 that may be wrong
