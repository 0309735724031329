import numpy as np

from services.expected_edits import PatchMaps
from services.second_looks import contradicted, contradicted_share, rank

UNKNOWN = 255


def maps(classes: list[int], error: list[float]) -> PatchMaps:
    return PatchMaps(np.array([classes], dtype=np.uint8), np.array([error]), np.zeros((1, len(error))))


LABEL = np.array([[0, 0, 1, 2, UNKNOWN, 1]], dtype=np.uint8)
MAPS = maps([0, 1, 2, 1, 1, UNKNOWN], [0.0, 0.1, 0.05, 0.2, 0.0, np.nan])


def test_a_label_is_contradicted_where_another_class_is_sure() -> None:
    # Equal; sure of another; sure of another; unsure; nobody named a class; no data.
    assert contradicted(LABEL, MAPS, binary=False).tolist() == [[False, True, True, False, False, False]]
    assert contradicted_share(LABEL, MAPS, binary=False) == 2 / 5
    assert contradicted_share(np.full_like(LABEL, UNKNOWN), MAPS, binary=False) == 0.0


def test_a_binary_version_contradicts_only_what_it_tells_apart() -> None:
    assert contradicted(LABEL, MAPS, binary=True).tolist() == [[False, True, False, False, False, False]]


def test_the_most_contradicted_come_first_and_single_pixels_not_at_all() -> None:
    assert rank({1: 0.2, 2: 0.009, 3: 0.5, 4: 0.2}) == [3, 1, 4]
