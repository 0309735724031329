import numpy as np

from imagery.aged_outlines import Ageing, age
from imagery.classes import UNKNOWN


def _truth() -> np.ndarray:
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[10:20, 10:20] = 1
    truth[15:20, 10:20] = 2
    truth[0, :] = UNKNOWN
    return truth


def test_without_ageing_only_unknown_ground_changes() -> None:
    assert age(_truth(), Ageing(), 0).tolist() == np.where(_truth() == UNKNOWN, 0, _truth()).tolist()


def test_grown_ground_has_the_class_beside_it() -> None:
    aged = age(_truth(), Ageing(grow_px=2), 0)
    assert aged[[8, 9, 20, 21], 12].tolist() == [1, 1, 2, 2]


def test_a_shift_keeps_the_shape_and_has_the_length() -> None:
    rows, cols = (np.flatnonzero((age(_truth(), Ageing(shift_px=3.0), 4) != 0).any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(cols)) == (10, 10)
    assert abs(np.hypot(rows[0] - 10, cols[0] - 10) - 3.0) < 0.8  # rounded to whole pixels


def test_the_missing_share_of_the_pieces_is_missing() -> None:
    truth = np.kron(np.indices((10, 10)).sum(axis=0) % 2, np.ones((4, 4))).astype(
        np.uint8
    )  # 50 pieces, corner to corner
    left = age(truth, Ageing(missing_share=0.3), 1)
    assert 0.15 < 1 - left.sum() / truth.sum() < 0.45
    assert not (left & ~truth).any()


def test_an_ice_field_is_missing_square_by_square() -> None:
    left = age(np.ones((640, 640), dtype=np.uint8), Ageing(missing_share=0.5), 0)
    assert 0.3 < left.mean() < 0.7


def test_merged_outlines_have_one_class() -> None:
    assert set(np.unique(age(_truth(), Ageing(merged_into=1), 0))) == {0, 1}
