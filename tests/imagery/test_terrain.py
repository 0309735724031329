import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagery.terrain import slope_degrees

OBLONG = Affine(30.0, 0.0, 478000.0, 0.0, -20.0, 3108140.0)
ROTATED = Affine(20.0, 10.0, 0.0, 10.0, -20.0, 0.0)
SOUTH_UP = Affine(30.0, 0.0, 0.0, 0.0, 30.0, 0.0)


def surface(transform: Affine, rows: int, cols: int, height_of: object) -> NDArray[np.float32]:
    """Heights at the centres of the pixels and of those one around them."""
    col, row = np.meshgrid(np.arange(-1, cols + 1) + 0.5, np.arange(-1, rows + 1) + 0.5)
    x = transform.a * col + transform.b * row
    y = transform.d * col + transform.e * row
    assert callable(height_of)
    return np.asarray(height_of(x, y), dtype=np.float32)


def slope_of(elevation: NDArray[np.float32], transform: Affine) -> NDArray[np.float32]:
    """On ground that is as flat as the map."""
    a, b, d, e = transform.a, transform.b, transform.d, transform.e
    return slope_degrees(elevation, np.array([a * a + d * d, a * b + d * e, b * b + e * e])[:, None, None])


def restated(elevation: NDArray[np.float32], width_m: float, height_m: float) -> NDArray[np.float64]:
    """Horn's method pixel by pixel as gdaldem documents it: a b c / d e f / g h i."""
    rows, cols = elevation.shape[0] - 2, elevation.shape[1] - 2
    slope = np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            (a, b, c), (d, _, f), (g, h, i) = elevation[row : row + 3, col : col + 3].astype(float).tolist()
            dx = ((c + 2 * f + i) - (a + 2 * d + g)) / (8 * width_m)
            dy = ((g + 2 * h + i) - (a + 2 * b + c)) / (8 * height_m)
            slope[row, col] = math.degrees(math.atan(math.sqrt(dx * dx + dy * dy)))
    return slope


@pytest.mark.parametrize("transform", [OBLONG, ROTATED, SOUTH_UP], ids=["oblong", "rotated", "south-up"])
def test_the_slope_of_a_plane_is_its_own_on_any_grid(transform: Affine) -> None:
    plane = surface(transform, 4, 5, lambda x, y: 0.3 * x - 0.4 * y)
    np.testing.assert_allclose(slope_of(plane, transform), math.degrees(math.atan(0.5)), rtol=1e-5)


def test_the_slope_of_a_paraboloid_is_its_derivative() -> None:
    # Central differences are exact for a polynomial of degree 2.
    bowl = surface(OBLONG, 6, 7, lambda x, y: 1e-3 * (x * x + y * y))
    col, row = np.meshgrid(np.arange(7) + 0.5, np.arange(6) + 0.5)
    steepness = 2e-3 * np.hypot(30 * col, 20 * row)
    np.testing.assert_allclose(slope_of(bowl, OBLONG), np.degrees(np.arctan(steepness)), atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_slope_equals_an_independent_loop_over_neighbours(seed: int, rows: int, cols: int) -> None:
    heights = np.random.default_rng(seed).uniform(3000, 5000, (rows + 2, cols + 2)).astype(np.float32)
    np.testing.assert_allclose(slope_of(heights, OBLONG), restated(heights, 30, 20), rtol=1e-5)


def test_a_missing_neighbour_is_continued_from_the_plane_of_the_others() -> None:
    plane = surface(OBLONG, 3, 3, lambda x, y: 0.3 * x - 0.4 * y)
    plane[[0, -1]] = plane[:, [0, -1]] = np.nan  # the DEM ends where the scene does
    np.testing.assert_allclose(slope_of(plane, OBLONG), math.degrees(math.atan(0.5)), rtol=1e-5)


def test_slope_is_missing_only_where_the_pixel_or_a_whole_axis_is() -> None:
    plane = surface(OBLONG, 3, 5, lambda x, y: 0.3 * x)
    plane[2, 2] = np.nan
    slope = slope_of(plane, OBLONG)
    assert np.argwhere(np.isnan(slope)).tolist() == [[1, 1]]
    plane[2, 4] = np.nan  # now the pixel between the two has no neighbour along its row
    assert np.argwhere(np.isnan(slope_of(plane, OBLONG))).tolist() == [[1, 1], [1, 2], [1, 3]]
