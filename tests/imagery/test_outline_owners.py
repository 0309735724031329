import numpy as np
import pytest
from pyproj import Geod
from shapely.geometry import box

from imagery.grid import Grid
from imagery.ground_metric import GroundMetric
from imagery.outline_owners import OutlineOwners
from imagery.polygons import mask_to_map_polygons
from imagery.projection import to_wgs84
from tests.imagery.forge import NORTH_UP, UTM_45N

MASK = np.zeros((9, 12), np.uint8)
MASK[1:7, 1:6] = 1
MASK[3:5, 3] = 0  # a hole
MASK[4:9, 8:11] = 1


@pytest.mark.parametrize(
    "transform", [NORTH_UP, (0.0, 20.0, 478000.0, -20.0, 0.0, 3108140.0)], ids=["north-up", "rotated"]
)
def test_each_pixel_is_owned_by_the_outline_that_was_drawn_around_it(transform):
    grid = Grid(UTM_45N, transform, 12, 9)
    polygons = np.array([polygon for _, polygon in mask_to_map_polygons(MASK, grid, [1])], dtype=object)
    owners = OutlineOwners(polygons, grid)
    whole = owners.in_rows(0, 9)
    np.testing.assert_array_equal(whole > 0, MASK == 1)
    assert {len(set(whole[1:7, 1:6].ravel()) - {0}), len(set(whole[4:9, 8:11].ravel()))} == {1}
    assert whole[1, 1] != whole[8, 8]
    np.testing.assert_array_equal(np.concatenate([owners.in_rows(0, 4), owners.in_rows(4, 5)]), whole)


def test_without_outlines_nothing_is_owned():
    owners = OutlineOwners(np.zeros(0, dtype=object), Grid(UTM_45N, NORTH_UP, 12, 9))
    assert not owners.in_rows(0, 9).any()


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM_45N, NORTH_UP),
        ("EPSG:3857", (30.0, 0.0, 9_660_000.0, 0.0, -30.0, 3_250_000.0)),  # 28 degrees north: a pixel has 700 m²
        ("EPSG:4326", (0.0003, 0.0, 86.9, 0.0, -0.0003, 60.0)),
    ],
    ids=["UTM", "Web Mercator", "degrees"],
)
def test_the_area_of_a_pixel_is_that_on_the_ellipsoid(crs, transform):
    grid = Grid(crs, transform, 100, 80)
    a, _, c, _, e, f = transform
    pixel = to_wgs84(box(c + 50 * a, f + 21 * e, c + 51 * a, f + 20 * e), crs)
    expected = abs(Geod(ellps="WGS84").geometry_area_perimeter(pixel)[0])
    assert GroundMetric(grid).pixel_area(np.array([20.5]), np.array([50.5]))[0, 0] == pytest.approx(expected, rel=1e-5)
