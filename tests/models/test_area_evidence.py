import numpy as np
import pytest

from models.area_evidence import collect, foregrounds, join_rows, join_scenes, outlines_of
from models.calibration import probability_bins
from tests.models.area_worlds import UNKNOWN, evidence, world


@pytest.fixture
def ground():
    """Two cells side by side: a mapped patch of 4 x 4 in the first, a true one of 4 x 8 around it, and one missed."""
    classes, truth = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8)
    classes[10:14, 10:14] = 1
    truth[10:14, 8:16] = 1  # two columns on either side of the mapped ones
    truth[20:22, 40:50] = 1
    truth[10, 10] = UNKNOWN
    bins = np.full((2, 32, 64), 5, np.uint8)
    bins[1][classes == 1] = 60
    bins[0] = 63 - bins[1]
    return classes, bins, truth


def found_on(classes, bins, truth):
    return collect(classes, bins, truth, outlines_of(classes, len(bins)), slice(0, 32), UNKNOWN)


def test_pixels_are_counted_by_cell_and_bin(ground):
    found = found_on(*ground)
    assert found.place.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found.mapped.tolist() == [[15], [0]]  # one of 16 is not judged
    assert found.true_area.tolist() == [[31], [20]]
    assert found.total[0, 1, [5, 60]].tolist() == [1024 - 16, 15]
    assert found.true[0, 1, [5, 60]].tolist() == [16, 15]
    assert found.zone[:, 0, [5, 60]].tolist() == [[84, 15], [0, 0]]  # (4 + 2 * 3)^2 pixels, less 16


def test_an_outline_has_what_is_true_in_its_zone(ground):
    pieces = found_on(*ground).pieces
    assert (pieces.value.tolist(), pieces.outline.tolist(), pieces.size.tolist()) == ([1], [1], [16])
    assert pieces.zone_area.tolist() == [31]
    assert pieces.zone[0, [5, 60]].tolist() == [84, 15]


def test_unknown_ground_is_no_evidence(ground):
    classes, bins, truth = ground
    truth[:, 32:] = UNKNOWN
    classes[10:14, 10:14] = UNKNOWN
    found = found_on(classes, bins, truth)
    assert found.place.tolist() == [[0, 0, 0]]
    assert (found.mapped.sum(), found.zone.sum(), len(found.pieces.size)) == (0, 0, 0)
    assert found.true_area.tolist() == [[16]]


def test_all_foreground_classes_together_are_an_area_too():
    assert foregrounds(2) == [(1,)]
    assert foregrounds(4) == [(1,), (2,), (3,), (1, 2, 3)]
    truth, probabilities = world(3, 64)
    found = evidence(truth, probabilities)
    assert found.true_area[:, 2].tolist() == found.true_area[:, :2].sum(axis=1).tolist()
    np.testing.assert_array_equal(found.mapped[:, 2], found.mapped[:, :2].sum(axis=1))


def test_rows_collected_apart_are_those_collected_together():
    """Zones and outlines reach across the rows where the scene is cut."""
    truth, probabilities = world(3, 128)
    whole = evidence(truth, probabilities)
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    bins, outlines = probability_bins(probabilities), outlines_of(classes, 3)
    parts = [
        collect(classes, bins[:, rows], truth[rows], outlines, rows, UNKNOWN) for rows in (slice(0, 64), slice(64, 128))
    ]
    joined = join_rows(parts)
    for name in ("place", "total", "true", "zone", "true_area", "mapped"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    assert joined.pieces.zone_area.sum() == whole.pieces.zone_area.sum()
    assert len(joined.pieces.size) == len(whole.pieces.size)


def test_cells_of_several_scenes_stay_apart():
    one = evidence(*world(3, 64))
    both = join_scenes([one, one])
    assert both.place[:, 0].tolist() == [0] * 4 + [1] * 4
    assert set(both.pieces.place[:, 0].tolist()) == {0, 1}
