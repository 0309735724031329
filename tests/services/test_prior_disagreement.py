import numpy as np

from imagery.classes import GLACIER_SCHEME, UNKNOWN
from services.prior_disagreement import contradicted
from services.prior_outlines import told_apart

U = UNKNOWN
CERTAIN, DOUBTFUL = 0.1, 0.8  # nats; half of ln 3 is 0.549
ALL, WHOLE = (told_apart(names, GLACIER_SCHEME) for names in ({"clean ice", "debris-covered ice"}, {"clean ice"}))


def found(classes: list[int], entropy: float, weak: list[int], told=ALL, class_count: int = 3) -> list[bool]:
    mask, outlines = (np.array([values], dtype=np.uint8) for values in (classes, weak))
    return contradicted(mask, np.full(mask.shape, entropy), outlines, told, class_count)[0].tolist()


def test_another_class_contradicts_if_the_version_is_confident() -> None:
    assert found([0, 1, 2, 1], CERTAIN, [0, 1, 1, 0]) == [False, False, True, True]
    assert found([0, 1, 2, 1], DOUBTFUL, [0, 1, 1, 0]) == [False] * 4
    assert found([1], float("nan"), [0]) == [False]


def test_nothing_is_contradicted_where_nothing_is_known() -> None:
    assert found([1, U], CERTAIN, [U, 0]) == [False, False]


def test_only_background_contradicts_outlines_of_whole_glaciers() -> None:
    assert found([0, 1, 2, 2], CERTAIN, [1, 1, 1, 0], WHOLE) == [True, False, False, True]


def test_a_binary_version_tells_foreground_from_background() -> None:
    assert found([0, 1, 1, 0], CERTAIN, [2, 2, 0, 0], ALL, class_count=2) == [True, False, True, False]
