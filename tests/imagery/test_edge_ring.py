import numpy as np
import pytest

from imagery.classes import UNKNOWN
from imagery.edge_ring import without_edges

U = UNKNOWN


def test_half_a_pixel_takes_one_pixel_on_either_side_of_an_edge() -> None:
    mask = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]], dtype=np.uint8)
    assert without_edges(mask, 0.4).tolist() == mask.tolist()
    assert without_edges(mask, 0.5).tolist() == [[0, 0, U, U, 1, 1]] * 2
    assert without_edges(mask, 1.5).tolist() == [[0, U, U, U, U, 1]] * 2


def test_the_distance_to_a_corner_is_straight() -> None:
    mask = np.zeros((5, 5), dtype=np.uint8)
    mask[2, 2] = 2
    # The pixel itself and its four neighbours lie beside the edge; the diagonal ones are 0.5 + 1 away from those.
    assert (without_edges(mask, 1.0) == U).sum() == 5
    assert (without_edges(mask, 1.5) == U).sum() == 13


def test_the_border_of_unknown_ground_is_no_edge() -> None:
    mask = np.array([[1, 1, U, 0, 0]], dtype=np.uint8)
    assert without_edges(mask, 3.0).tolist() == mask.tolist()


@pytest.mark.parametrize("width", [1.0, 2.5, 7.0])
def test_strips_do_not_show(width: float, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = (np.random.default_rng(0).random((60, 20)) < 0.02).astype(np.uint8)
    whole = without_edges(mask, width)
    monkeypatch.setattr("imagery.edge_ring._ROWS_PER_STRIP", 7)
    assert without_edges(mask, width).tolist() == whole.tolist()
