"""Slope by the true length of pixels, whatever the projection does to them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.ground_metric import GroundMetric
from imagery.terrain import aspect, slope_degrees

# 300 x 300 pixels of about 30 m, around 87 E, 28 N unless said otherwise.
UTM = Grid("EPSG:32645", (30.0, 0.0, 496000.0, 0.0, -30.0, 3102000.0), 300, 300)
UTM_TURNED = Grid("EPSG:32645", (0.0, 30.0, 496000.0, 30.0, 0.0, 3093000.0), 300, 300)
ANOTHER_ZONE = Grid("EPSG:32644", (30.0, 0.0, 1087000.0, 0.0, -30.0, 3110000.0), 300, 300)
WEB_MERCATOR = Grid("EPSG:3857", (30.0, 0.0, 9680000.0, 0.0, -30.0, 3255000.0), 300, 300)
EQUAL_AREA = Grid("EPSG:6933", (30.0, 0.0, 8389000.0, 0.0, -30.0, 3430000.0), 300, 300)
FEET = Grid("EPSG:2263", (100.0, 0.0, 980000.0, 0.0, -100.0, 200000.0), 300, 300)  # New York, US survey feet
DEGREES = Grid("EPSG:4326", (1 / 3000, 0.0, 86.95, 0.0, -1 / 3000, 28.05), 300, 300)
AT_THE_POLE = Grid("EPSG:3413", (30.0, 0.0, -4500.0, 0.0, -30.0, 4500.0), 300, 300)
ANTIMERIDIAN = Grid("EPSG:32660", (30.0, 0.0, 789000.0, 0.0, -30.0, 3104000.0), 300, 300)
GRIDS = {
    "utm": UTM,
    "turned": UTM_TURNED,
    "another zone": ANOTHER_ZONE,
    "web mercator": WEB_MERCATOR,
    "equal area": EQUAL_AREA,
    "feet": FEET,
    "degrees": DEGREES,
    "at the pole": AT_THE_POLE,
    "antimeridian": ANTIMERIDIAN,
}


def heights(
    grid: Grid, window: Window, rise: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Heights at a window's pixels and around it: `rise` of metres east and north of the grid's middle, (2, ...).

    The ground is laid out by a transverse Mercator projection of its own, true to scale in the middle of the grid.
    """
    x, y = grid.affine @ (grid.width / 2, grid.height / 2)
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    local = CRS.from_dict({"proj": "tmerc", "lon_0": lon, "lat_0": lat, "ellps": "WGS84"})
    to_local = Transformer.from_crs(grid.crs, local, always_xy=True)
    rows = np.arange(window.row_off - 1, window.row_off + window.height + 1) + 0.5
    cols = np.arange(window.col_off - 1, window.col_off + window.width + 1) + 0.5
    col, row = np.meshgrid(cols, rows)
    a, b, c, d, e, f = grid.transform
    east, north = to_local.transform(a * col + b * row + c, d * col + e * row + f)
    return np.asarray(rise(np.stack([east, north])), dtype=np.float32)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("towards", [0.0, 30.0, 90.0])
def test_a_hillside_of_45_degrees_reads_45_in_any_projection_and_in_degrees(name: str, towards: float) -> None:
    grid, window = GRIDS[name], Window(140, 140, 20, 20)
    uphill = np.array([math.sin(math.radians(towards)), math.cos(math.radians(towards))])
    hillside = heights(grid, window, lambda place: np.tensordot(uphill, place, 1))
    slope = slope_degrees(hillside, GroundMetric(grid).at(window))
    np.testing.assert_allclose(slope, 45.0, atol=2e-3)


def test_slope_in_web_mercator_is_right_at_28_north_where_map_units_make_45_degrees_of_it_41() -> None:
    window = Window(140, 140, 3, 3)
    hillside = heights(WEB_MERCATOR, window, lambda place: place[0])
    in_map_units = np.array([900.0, 0.0, 900.0])[:, None, None]
    assert slope_degrees(hillside, in_map_units)[1, 1] == pytest.approx(41.45, abs=0.05)
    assert slope_degrees(hillside, GroundMetric(WEB_MERCATOR).at(window))[1, 1] == pytest.approx(45.0, abs=2e-3)


def test_pixels_in_utm_are_as_long_as_on_the_map_within_a_thousandth() -> None:
    metric = GroundMetric(UTM).at(UTM.window)
    assert metric.shape == (3, 300, 300)
    assert np.sqrt(metric[[0, 2]]) == pytest.approx(30.0, rel=5e-4)
    assert metric[1] == pytest.approx(0.0, abs=1e-2)  # at right angles


def test_the_metric_follows_the_scale_over_a_whole_scene_in_degrees() -> None:
    arc_second = 1 / 3600
    scene = Grid("EPSG:4326", (arc_second, 0.0, 86.0, 0.0, -arc_second, 29.0), 7200, 7200)  # 2 x 2 degrees
    metric = GroundMetric(scene)
    for row in (0, 1800, 3333, 7199):
        latitude = math.radians(29.0 - (row + 0.5) * arc_second)
        # Radii of curvature of the WGS 84 ellipsoid, of the parallel and of the meridian.
        a, e2 = 6378137.0, 0.00669437999014
        bent = 1 - e2 * math.sin(latitude) ** 2
        east = a / math.sqrt(bent) * math.cos(latitude) * math.radians(arc_second)
        south = a * (1 - e2) / bent**1.5 * math.radians(arc_second)
        found = metric.at(Window(row, 500, 1, 1))[:, 0, 0]
        np.testing.assert_allclose(found, [east**2, 0.0, south**2], rtol=4e-5, atol=1e-4)


def test_the_metric_of_windows_is_cut_from_that_of_the_whole() -> None:
    metric = GroundMetric(WEB_MERCATOR)
    whole = metric.at(WEB_MERCATOR.window)
    for window in (Window(0, 0, 40, 60), Window(123, 250, 7, 50), Window(299, 299, 1, 1)):
        np.testing.assert_allclose(metric.at(window), whole[:, *window.slices], rtol=1e-12, atol=1e-9)


def test_a_scene_of_one_pixel_has_a_metric() -> None:
    one = Grid(UTM.crs, UTM.transform, 1, 1)
    found, expected = GroundMetric(one).at(one.window), GroundMetric(UTM).at(Window(0, 0, 1, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_a_grid_without_a_place_on_earth_has_no_metric() -> None:
    with pytest.raises(SceneError, match="has no place in EPSG:4326"):
        GroundMetric(Grid("EPSG:32645", (1e9, 0.0, 1e12, 0.0, -1e9, 1e12), 3, 3))


@pytest.mark.parametrize("name", [name for name in GRIDS if name != "at the pole"])
def test_aspect_is_counted_from_true_north_in_any_projection(name: str) -> None:
    grid, window = GRIDS[name], Window(140, 140, 20, 20)
    downhill = np.array([math.sin(math.radians(30.0)), math.cos(math.radians(30.0))])
    hillside = heights(grid, window, lambda place: -np.tensordot(downhill, place, 1))
    sine, cosine = aspect(hillside, GroundMetric(grid).steps_at(window))
    # Half the hillside away from the meridian of the middle, true north has turned by some 0.0001.
    np.testing.assert_allclose([sine.mean(), cosine.mean()], downhill, atol=5e-4)
    np.testing.assert_allclose(np.hypot(sine, cosine), 1, rtol=1e-5)
