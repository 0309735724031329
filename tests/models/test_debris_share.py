import math

import numpy as np

from models.debris_share import debris_share, glacier_confusion
from models.metrics import confusion_matrix

IGNORE, DEBRIS = 255, 2


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def test_share_is_of_the_judged_pixels():
    truth = np.array([[0, 1, 2, 0], [IGNORE, IGNORE, IGNORE, IGNORE]], dtype=np.uint8)
    assert debris_share(truth, DEBRIS, IGNORE) == 0.25


def test_share_without_a_judged_pixel_is_undefined():
    assert math.isnan(debris_share(np.full((2, 2), IGNORE), DEBRIS, IGNORE))


def test_merging_forgives_the_wrong_kind_of_ice():
    confusion = np.array([[50, 3, 1], [4, 20, 5], [2, 6, 9]])
    assert glacier_confusion(confusion, background=0).tolist() == [[50, 4], [6, 40]]
    assert glacier_confusion(confusion[::-1, ::-1], background=2).tolist() == [[50, 4], [6, 40]]


def test_merged_matrix_is_that_of_merged_masks():
    generator = seeded()
    truth, prediction = generator.integers(3, size=(2, 5, 8, 8))
    of_masks = [
        confusion_matrix((p > 0).astype(int), (t > 0).astype(int), 2, IGNORE)
        for p, t in zip(prediction, truth, strict=True)
    ]
    of_matrices = np.stack([confusion_matrix(p, t, 3, IGNORE) for p, t in zip(prediction, truth, strict=True)])
    np.testing.assert_array_equal(glacier_confusion(of_matrices, 0), of_masks)
    np.testing.assert_array_equal(glacier_confusion(np.stack(of_masks), 0), of_masks)
