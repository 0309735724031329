"""Change between two class maps whose areas are known, and the displacement between two images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from imagery.area_interval import NOTHING, AreaInterval
from imagery.change import (
    CONVERTED,
    GAINED,
    LOST,
    common_grid,
    compare_areas,
    map_onto,
    number_glaciers,
    total,
    transitions,
)
from imagery.classes import UNKNOWN
from imagery.coregistration import estimate_shift
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, SceneSource
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff

GRID = Grid(UTM_45N, NORTH_UP, 100, 80)
# A pixel of 30 m on the map, at 86.8 degrees east (the zone's meridian is 87), is 0.08 % larger on the ground.
PIXEL_KM2 = pytest.approx(0.0009, rel=1e-3)


def square(value: int, size: int, top: int = 20, left: int = 20) -> NDArray[np.uint8]:
    """A map of background with one square."""
    classes: NDArray[np.uint8] = np.zeros((80, 100), dtype=np.uint8)
    classes[top : top + size, left : left + size] = value
    return classes


def half_width(interval: AreaInterval) -> float:
    return (interval.high - interval.low) / 2


def test_a_glacier_that_shrinks_by_known_pixels() -> None:
    before, after = square(1, 20), square(1, 16)
    numbers, names = number_glaciers(before, after, [], GRID)
    assert names == ["1"]
    (change,) = compare_areas(before, after, numbers, len(names), [1], GRID)
    pixel = change.before / 400
    assert pixel == PIXEL_KM2
    assert change.after == pytest.approx(256 * pixel)
    assert (change.gained, change.lost) == (0.0, pytest.approx(144 * pixel))
    # 80 pixel edges are a line of 80 * pi / 4 pixels; half a pixel of it is 10 pi pixels.
    assert half_width(change.before_interval) == pytest.approx(1.96 * 10 * np.pi * pixel)
    assert half_width(change.after_interval) == pytest.approx(1.96 * 8 * np.pi * pixel)
    assert half_width(change.change_interval) == pytest.approx(1.96 * np.hypot(10, 8) * np.pi * pixel)
    assert change.method == "buffer"
    assert change.is_significant  # 144 > 1.96 * 40.2


def test_a_change_within_the_error_of_both_dates_is_not_significant() -> None:
    before, after = square(1, 20), square(1, 19)  # 39 pixels, of an error of 43
    numbers, names = number_glaciers(before, after, [], GRID)
    assert not compare_areas(before, after, numbers, len(names), [1], GRID)[0].is_significant


def test_pixels_unknown_at_one_date_count_at_neither_and_are_no_outline() -> None:
    before, after = square(1, 20), square(1, 20)
    after[:, 30:] = UNKNOWN
    numbers, names = number_glaciers(before, after, [], GRID)
    (change,) = compare_areas(before, after, numbers, len(names), [1], GRID)
    assert change.before == change.after == pytest.approx(200 * PIXEL_KM2.expected, rel=1e-3)
    error = 40 / 4 * np.pi / 2 * PIXEL_KM2.expected
    assert half_width(change.before_interval) == pytest.approx(1.96 * error, rel=1e-3)


def test_ground_that_changes_its_class_is_lost_by_one_and_gained_by_the_other_but_not_by_both_together() -> None:
    before, after = square(1, 20), square(1, 20)
    after[20:24, 20:40] = 2
    numbers, names = number_glaciers(before, after, [], GRID)
    clean, debris, both = (compare_areas(before, after, numbers, len(names), v, GRID)[0] for v in ([1], [2], [1, 2]))
    assert clean.lost == debris.gained == pytest.approx(80 * PIXEL_KM2.expected, rel=1e-3)
    assert (both.gained, both.lost, both.change) == (0.0, 0.0, 0.0)
    assert np.unique(transitions(before, after), return_counts=True)[1].tolist() == [8000 - 80, 80]


def test_codes_of_what_became_of_each_pixel() -> None:
    before = np.array([[0, 0, 1, 1, 2, UNKNOWN, 1]], dtype=np.uint8)
    after = np.array([[0, 2, 0, 2, 2, 1, UNKNOWN]], dtype=np.uint8)
    assert transitions(before, after).tolist() == [[0, GAINED, LOST, CONVERTED, 0, UNKNOWN, UNKNOWN]]


def test_glaciers_by_polygon_keep_their_order_and_one_without_ice_is_zero() -> None:
    a, _, c, _, e, f = NORTH_UP
    west, east = (shapely.box(c + a * left, f + e * 80, c + a * right, f) for left, right in ((0, 50), (50, 100)))
    before = square(1, 20)
    numbers, names = number_glaciers(before, before, [("east", east), ("west", west)], GRID)
    assert names == ["east", "west"]
    nothing, all_of_it = compare_areas(before, before, numbers, len(names), [1], GRID)
    assert (nothing.before, nothing.before_interval) == (0.0, NOTHING)
    assert all_of_it.before == pytest.approx(400 * PIXEL_KM2.expected, rel=1e-3)
    together = total([nothing, all_of_it, all_of_it])
    assert together.before == pytest.approx(2 * all_of_it.before)
    assert half_width(together.before_interval) == pytest.approx(np.sqrt(2) * half_width(all_of_it.before_interval))


def test_polygons_of_one_id_are_one_glacier_also_where_they_overlap() -> None:
    """The square of 20 px: columns 20 to 29 and 27 to 34 are of one id, in two polygons, and 35 to 39 of another."""
    a, _, c, _, e, f = NORTH_UP
    parts = [
        (name, shapely.box(c + a * left, f + e * 80, c + a * right, f))
        for name, left, right in (("west", 0, 30), ("east", 35, 50), ("west", 27, 35))
    ]
    before, after = square(1, 20), square(1, 10)
    numbers, names = number_glaciers(before, after, parts, GRID)
    assert names == ["west", "east"]
    west, east = compare_areas(before, after, numbers, len(names), [1], GRID)
    assert [west.before, west.after] == pytest.approx([300 * 0.0009, 100 * 0.0009], rel=1e-3)
    assert [east.before, east.after] == pytest.approx([100 * 0.0009, 0.0], rel=1e-3)


def test_the_coarser_grid_cut_to_the_common_ground_is_compared() -> None:
    a, b, c, d, e, f = NORTH_UP
    fine = Grid(UTM_45N, (10.0, b, c + 600, d, -10.0, f - 300), 150, 120)
    assert common_grid(GRID, fine) == common_grid(fine, GRID) == Grid(UTM_45N, (a, b, c + 600, d, e, f - 300), 50, 40)
    with pytest.raises(SceneError, match="without common ground"):
        common_grid(GRID, replace(fine, transform=(10.0, b, c + 90_000, d, -10.0, f)))


@pytest.mark.parametrize("west", [-80.0, 280.0])
def test_scenes_are_compared_however_their_longitudes_are_counted(west: float, tmp_path: Path) -> None:
    """160 x 160 pixels at 80 W, and the eastern half of them counted otherwise."""
    whole = textured(tmp_path, "whole.tif", 0, 0, "EPSG:4326", (0.0003, 0.0, -80.0, 0.0, -0.0003, 1.0))
    other = textured(tmp_path, "other.tif", 0, 0, "EPSG:4326", (0.0003, 0.0, west, 0.0, -0.0003, 1.0))
    east = replace(other.grid, transform=(0.0003, 0.0, west + 80 * 0.0003, 0.0, -0.0003, 1.0))
    assert common_grid(whole.grid, east).width == 80
    assert common_grid(whole.grid, other.grid) in (whole.grid, other.grid)
    ones = np.ones((160, 160), dtype=np.uint8)
    for grid in (whole.grid, other.grid):
        shift = estimate_shift(whole, other, grid)
        assert shift is not None
        assert shift.length_m == pytest.approx(0, abs=0.1)
        assert (map_onto(ones, whole.grid, grid) == 1).all()
        assert (map_onto(ones, other.grid, grid) == 1).all()


def test_a_scene_in_utm_is_compared_with_one_whose_longitudes_are_counted_from_0_to_360() -> None:
    """Around 80.5 W, 1 N: 1 km of UTM is 0.009 degrees."""
    degrees = Grid("EPSG:4326", (0.001, 0.0, 279.0, 0.0, -0.001, 1.5), 1000, 1000)
    utm = Grid("EPSG:32617", (30.0, 0.0, 555_000.0, 0.0, -30.0, 111_000.0), 100, 100)
    grid = common_grid(degrees, utm)
    assert grid.crs == "EPSG:4326"
    assert grid.bounds == pytest.approx((279.494, 0.976, 279.522, 1.004), abs=0.002)


def test_a_finer_map_becomes_the_most_frequent_class() -> None:
    _, b, c, d, _, f = NORTH_UP
    own, coarse = Grid(UTM_45N, (10.0, b, c, d, -10.0, f), 9, 3), Grid(UTM_45N, NORTH_UP, 3, 2)
    classes = np.array([[1, 1, 0, 2, 2, 2, 255, 255, 1], [1, 1, 0, 0, 2, 2, 255, 255, 1], [0, 1, 0] * 3])
    onto = map_onto(classes.astype(np.uint8), own, coarse)
    assert onto.tolist() == [[1, 2, 1], [UNKNOWN] * 3]  # of the third pixel's five known parts, three are 1


def read(source: SceneSource) -> NDArray[np.float32]:
    """The image of a scene."""
    with SceneReader(source) as reader:
        return reader.read(["nir"], source.grid.window)[0]


def textured(
    tmp_path: Path,
    name: str,
    east_px: float,
    north_px: float,
    crs: str = UTM_45N,
    transform: tuple[float, ...] = NORTH_UP,
) -> SceneSource:
    """A scene of smooth random texture whose image lies so many pixels to the east and north of the ground."""
    noise = np.random.default_rng(0).normal(size=(160, 160))
    ground = ndimage.gaussian_filter(noise, 2, mode="wrap")
    image = ndimage.shift(ground, (-north_px, east_px), order=3, mode="grid-wrap")
    image = (10_000 + 20_000 * image).astype(np.float32)
    path = write_geotiff(tmp_path / name, image, crs=crs, transform=transform)
    return describe([BandSource("nir", str(path), 1)])


def test_the_displacement_of_an_image_is_found_to_a_tenth_of_a_pixel(tmp_path: Path) -> None:
    first, second = textured(tmp_path, "first.tif", 0, 0), textured(tmp_path, "second.tif", 1.5, -0.75)
    shift = estimate_shift(first, second, first.grid)
    assert shift is not None
    assert (shift.east_m, shift.north_m) == (pytest.approx(45, abs=3), pytest.approx(-22.5, abs=3))
    assert (shift.blocks, shift.channel) == (4, "nir")
    assert shift.error_m < 3
    assert shift.length_m == pytest.approx(np.hypot(shift.east_m, shift.north_m))


def test_the_displacement_is_found_between_resolutions(tmp_path: Path) -> None:
    a, b, c, d, e, f = NORTH_UP
    first = textured(tmp_path, "first.tif", 0, 0)
    with_pixels = np.kron(read(first), np.ones((3, 3)))
    fine = write_geotiff(
        tmp_path / "fine.tif", with_pixels.astype(np.float32), transform=(a / 3, b, c + 15, d, e / 3, f)
    )
    shift = estimate_shift(first, describe([BandSource("nir", str(fine), 1)]), first.grid)
    assert shift is not None
    assert (shift.east_m, shift.north_m) == (pytest.approx(15, abs=3), pytest.approx(0, abs=3))


def test_images_that_are_not_alike_have_no_displacement(tmp_path: Path) -> None:
    first = textured(tmp_path, "first.tif", 0, 0)
    noise = np.random.default_rng(1).normal(100, 10, size=(160, 160)).astype(np.float32)
    other = describe([BandSource("nir", str(write_geotiff(tmp_path / "other.tif", noise)), 1)])
    red = describe([BandSource("thermal", first.bands[0].path, 1)])
    assert estimate_shift(first, other, first.grid) is None
    assert estimate_shift(first, red, first.grid) is None, "no band in common"
