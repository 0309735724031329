import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagery.terrain import aspect, curvature, ruggedness, slope_degrees

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


def steps_of(transform: Affine) -> NDArray[np.float64]:
    """East and north of the steps to the next column and to the next row, on flat ground with y to the north."""
    return np.array([[transform.a, transform.d], [transform.b, transform.e]])[:, :, None, None]


@pytest.mark.parametrize("transform", [OBLONG, ROTATED, SOUTH_UP], ids=["oblong", "rotated", "south-up"])
@pytest.mark.parametrize("towards", [0, 45, 100, 250])
def test_the_aspect_of_a_plane_is_where_it_falls_to_clockwise_from_north_on_any_grid(
    transform: Affine, towards: int
) -> None:
    sine, cosine = math.sin(math.radians(towards)), math.cos(math.radians(towards))
    plane = surface(transform, 4, 5, lambda x, y: -0.3 * (sine * x + cosine * y))
    found = aspect(plane, steps_of(transform))
    np.testing.assert_allclose(found[0], sine, atol=1e-5)
    np.testing.assert_allclose(found[1], cosine, atol=1e-5)


def test_the_aspects_of_a_cone_point_away_from_its_top_and_flat_ground_has_none() -> None:
    top = (15.0 + 3 * 30, -10.0 - 3 * 20)  # the centre of pixel (3, 3)
    cone = surface(OBLONG, 7, 7, lambda x, y: -0.5 * np.hypot(x - top[0], y - top[1]))
    sine, cosine = aspect(cone, steps_of(OBLONG))
    east, north = 30 * (np.arange(7) - 3.0), 60.0  # of the pixels of the first row, from the top
    np.testing.assert_allclose(sine[0], east / np.hypot(east, north), atol=0.02)
    np.testing.assert_allclose(cosine[0], north / np.hypot(east, north), atol=0.02)
    assert (sine[3, 3], cosine[3, 3]) == (0, 0)
    flat = aspect(np.zeros((3, 3), dtype=np.float32), steps_of(OBLONG))
    assert [float(part[0, 0]) for part in flat] == [0, 0]


@pytest.mark.parametrize("transform", [OBLONG, ROTATED, SOUTH_UP], ids=["oblong", "rotated", "south-up"])
def test_the_curvature_of_a_dome_is_twice_that_of_its_circle_and_of_a_hollow_minus_that(transform: Affine) -> None:
    a, b, d, e = transform.a, transform.b, transform.d, transform.e
    metric = np.array([a * a + d * d, a * b + d * e, b * b + e * e])[:, None, None]
    dome = surface(transform, 5, 5, lambda x, y: -(x * x + y * y) / (2 * 500.0))
    np.testing.assert_allclose(curvature(dome, metric), 2 / 500.0, rtol=1e-4)
    np.testing.assert_allclose(curvature(-dome, metric), -2 / 500.0, rtol=1e-4)
    plane = surface(transform, 5, 5, lambda x, y: 0.3 * x - 0.4 * y)
    np.testing.assert_allclose(curvature(plane, metric), 0, atol=1e-7)


def test_the_curvature_at_the_top_of_a_sphere_is_twice_the_inverse_of_its_radius() -> None:
    radius = 3000.0
    transform = Affine(10.0, 0.0, -15.0, 0.0, -10.0, 15.0)  # pixel (1, 1) is centred on the top
    sphere = surface(transform, 3, 3, lambda x, y: np.sqrt(radius**2 - x * x - y * y) - radius)
    found = curvature(sphere, np.array([100.0, 0.0, 100.0])[:, None, None])
    assert found[1, 1] == pytest.approx(2 / radius, rel=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_ruggedness_is_the_root_of_the_summed_squares_of_eight_differences(seed: int) -> None:
    heights = np.random.default_rng(seed).uniform(3000, 5000, (4, 5)).astype(np.float32)
    found = ruggedness(heights)
    for row in range(2):
        for col in range(3):
            centre = float(heights[row + 1, col + 1])
            around = heights[row : row + 3, col : col + 3].astype(float).ravel()
            assert found[row, col] == pytest.approx(math.sqrt(sum((height - centre) ** 2 for height in around)))


def test_all_measures_of_a_plane_are_its_own_up_to_the_edge_of_the_model() -> None:
    # A step along the row rises 9 m, one along the column 8 m; six of the eight neighbours differ by each.
    plane = surface(OBLONG, 3, 3, lambda x, y: 0.3 * x - 0.4 * y)
    plane[[0, -1]] = plane[:, [0, -1]] = np.nan
    np.testing.assert_allclose(ruggedness(plane), math.sqrt(6 * 9**2 + 6 * 8**2), rtol=1e-5)
    np.testing.assert_allclose(curvature(plane, np.array([900.0, 0.0, 400.0])[:, None, None]), 0, atol=1e-6)
    sine, cosine = aspect(plane, steps_of(OBLONG))
    np.testing.assert_allclose([sine, cosine], np.broadcast_to([[[-0.6]], [[0.8]]], (2, 3, 3)), atol=1e-5)
