import numpy as np
import pytest
import shapely

from imagery.polygons import mask_to_polygons
from imagery.smoothing import smoothing_error


def test_outlines_along_pixel_edges_have_no_error() -> None:
    mask = np.array([[1, 1, 0], [2, 1, 255]], dtype=np.uint8)
    error = smoothing_error(mask, mask_to_polygons(mask, [1, 2]), [1, 2])
    assert error.changed_share == 0
    assert error.area_change == {1: 0.0, 2: 0.0}


def test_changed_pixels_and_areas_are_counted() -> None:
    mask = np.zeros((4, 5), dtype=np.uint8)
    mask[:2, :2] = 1
    # A box of 2 x 3 pixels in place of 2 x 2: two of twenty pixels change, and half of the area is added.
    error = smoothing_error(mask, [(1, shapely.box(0, 0, 3, 2))], [1, 2])
    assert error.changed_share == pytest.approx(2 / 20)
    assert error.area_change[1] == pytest.approx(0.5)
    assert np.isnan(error.area_change[2])


def test_smoothing_a_circle_changes_few_pixels_and_hardly_its_area() -> None:
    rows, cols = np.indices((100, 100))
    mask = (np.hypot(rows - 50, cols - 50) < 35).astype(np.uint8)
    error = smoothing_error(mask, mask_to_polygons(mask, [1], smoothing_px=1.0), [1])
    assert 0 < error.changed_share < 0.02
    assert abs(error.area_change[1]) < 0.01
