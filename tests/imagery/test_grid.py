import math
from itertools import pairwise

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform as warp

from imagery.errors import SceneError
from imagery.grid import Grid, Window, first_overlap, footprints_overlap, tile

UTM = Grid("EPSG:32645", (30.0, 0.0, 500000.0, 0.0, -30.0, 3000000.0), width=40, height=25)
SOUTH_UP = Grid("EPSG:32645", (30.0, 0.0, 500000.0, 0.0, 30.0, 2999250.0), width=40, height=25)
DEGREES = Grid("EPSG:4326", (0.5, 0.0, 86.0, 0.0, -0.25, 28.0), width=40, height=25)
POLAR = Grid("EPSG:3031", (100.0, 0.0, 1_000_000.0, 0.0, -100.0, 2500.0), width=40, height=25)
# Columns run north and rows run east: x = 500000 + 30 * row, y = 3000000 + 30 * col.
TURNED = Grid("EPSG:32645", (0.0, 30.0, 500000.0, 30.0, 0.0, 3000000.0), width=40, height=25)

# Rows 5 to 9 (exclusive) and columns 10 to 13: the bounds can be worked out by hand.
WINDOW = Window(row_off=5, col_off=10, height=4, width=3)


@pytest.mark.parametrize(
    ("grid", "bounds"),
    [
        (UTM, (500300.0, 2999730.0, 500390.0, 2999850.0)),
        (SOUTH_UP, (500300.0, 2999400.0, 500390.0, 2999520.0)),
        (DEGREES, (91.0, 25.75, 92.5, 26.75)),
        (POLAR, (1_001_000.0, 1600.0, 1_001_300.0, 2000.0)),
        (TURNED, (500150.0, 3000300.0, 500270.0, 3000390.0)),
    ],
    ids=["utm", "south-up", "degrees", "polar", "turned"],
)
def test_a_window_lies_where_its_rows_and_columns_say_and_is_not_mirrored(
    grid: Grid, bounds: tuple[float, ...]
) -> None:
    assert grid.footprint(WINDOW).bounds == pytest.approx(bounds)
    assert grid.subgrid(WINDOW).bounds == pytest.approx(bounds)


def test_the_first_row_of_a_north_up_scene_is_its_northern_edge() -> None:
    top = UTM.footprint(Window(0, 0, 1, 40))
    bottom = UTM.footprint(Window(24, 0, 1, 40))
    assert top.bounds[3] == UTM.bounds[3] == 3000000.0
    assert bottom.bounds[1] == UTM.bounds[1] == 2999250.0


def test_the_first_row_of_a_south_up_scene_is_its_southern_edge() -> None:
    assert SOUTH_UP.footprint(Window(0, 0, 1, 40)).bounds[1] == SOUTH_UP.bounds[1] == 2999250.0


@pytest.mark.parametrize("grid", [UTM, SOUTH_UP, DEGREES, POLAR, TURNED])
def test_windows_of_a_tiling_cover_the_footprint_exactly(grid: Grid) -> None:
    patches = [grid.footprint(window) for window in tile(grid.width, grid.height, 10)]
    assert shapely.union_all(patches).symmetric_difference(grid.footprint()).area < 1e-6 * grid.pixel_area()
    assert all(patch.exterior.is_ccw for patch in patches)


@pytest.mark.parametrize("grid", [UTM, SOUTH_UP, DEGREES, POLAR, TURNED])
def test_the_footprint_in_wgs84_has_the_corners_that_gdal_gives(grid: Grid) -> None:
    footprint = grid.footprint_wgs84(WINDOW)
    xs, ys = zip(*grid.footprint(WINDOW).exterior.coords[:4], strict=True)
    for lon, lat in zip(*warp(grid.crs, "EPSG:4326", xs, ys), strict=True):
        assert footprint.exterior.distance(shapely.Point(lon, lat)) < 1e-7
    assert footprint.exterior.is_ccw


def test_the_edges_of_a_wgs84_footprint_follow_the_curve() -> None:
    wide = Grid("EPSG:32645", (30.0, 0.0, 300000.0, 0.0, -30.0, 8000000.0), width=6000, height=6000)
    lon, lat = warp("EPSG:32645", "EPSG:4326", [300000.0 + 90000.0], [8000000.0])
    on_edge = shapely.Point(lon[0], lat[0])
    assert wide.footprint_wgs84().exterior.distance(on_edge) < 1e-5
    corners_only = shapely.Polygon(
        np.column_stack(warp("EPSG:32645", "EPSG:4326", *wide.footprint().exterior.coords.xy))
    )
    assert corners_only.exterior.distance(on_edge) > 1e-3


def test_a_window_of_a_grid_is_as_close_to_the_curve_with_fewer_points() -> None:
    wide = Grid("EPSG:32645", (30.0, 0.0, 300000.0, 0.0, -30.0, 8000000.0), width=6000, height=4000)
    footprint = wide.footprint_wgs84(Window(0, 0, 1500, 750))
    assert len(footprint.exterior.coords) == 4 * 8 + 1  # a quarter of the longest edge's 32 pieces; closed
    middle_of_a_piece = 300000.0 + 30.0 * 750 / 16
    (lon,), (lat,) = warp("EPSG:32645", "EPSG:4326", [middle_of_a_piece], [8000000.0])
    assert footprint.exterior.distance(shapely.Point(lon, lat)) < 1e-5
    assert len(wide.footprint_wgs84(Window(0, 0, 32, 32)).exterior.coords) == 4 + 1


def test_a_footprint_across_the_antimeridian_is_cut_there() -> None:
    # South of the pole along 180 degrees: x from -1000 m to 1000 m, y around -1,500,000 m.
    grid = Grid("EPSG:3031", (100.0, 0.0, -1000.0, 0.0, -100.0, -1_500_000.0), width=20, height=10)
    parts = grid.footprint_wgs84().geoms
    assert sorted(round(part.bounds[0]) for part in parts) == [-180, 180]
    assert all(part.bounds[2] - part.bounds[0] < 0.1 and part.exterior.is_ccw for part in parts)
    west, east = sorted(parts, key=lambda part: part.bounds[0])
    assert west.area == pytest.approx(east.area, rel=1e-6)


def test_a_footprint_around_the_pole_reaches_the_pole() -> None:
    grid = Grid("EPSG:3031", (1000.0, 0.0, -10_000.0, 0.0, -1000.0, 10_000.0), width=20, height=20)
    footprint = grid.footprint_wgs84()
    assert footprint.bounds[0] == -180.0
    assert footprint.bounds[1] == -90.0
    assert footprint.bounds[2] == 180.0
    assert footprint.contains(shapely.Point(45.0, -89.99))
    assert not footprint.contains(shapely.Point(45.0, -89.0))


def test_bounds_agree_with_rasterio() -> None:
    assert UTM.bounds == tuple(rasterio.transform.array_bounds(25, 40, UTM.affine))


def test_pixel_area_is_in_squared_crs_units() -> None:
    assert UTM.pixel_area() == SOUTH_UP.pixel_area() == TURNED.pixel_area() == 900.0
    assert DEGREES.pixel_area() == 0.125


def test_a_singular_transform_is_refused() -> None:
    with pytest.raises(SceneError, match="invertible"):
        Grid("EPSG:32645", (30.0, 0.0, 0.0, 60.0, 0.0, 0.0), 10, 10)


def test_a_window_beyond_the_grid_is_refused() -> None:
    with pytest.raises(SceneError, match="inside 25 rows x 40 columns"):
        UTM.subgrid(Window(20, 0, 6, 1))


@pytest.mark.parametrize("sides", [(-1, 0, 1, 1), (0, 0, 0, 1)])
def test_a_window_without_pixels_or_before_the_origin_is_refused(sides: tuple[int, int, int, int]) -> None:
    with pytest.raises(SceneError, match="expected offsets of at least 0"):
        Window(*sides)


@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 40), overlap=st.integers(0, 39))
def test_tiles_cover_every_pixel_with_whole_distinct_windows(width: int, height: int, size: int, overlap: int) -> None:
    if overlap >= size or min(width, height) < size:
        with pytest.raises(SceneError):
            tile(width, height, size, overlap)
        return
    windows = tile(width, height, size, overlap)
    covered = np.zeros((height, width), dtype=int)
    for window in windows:
        covered[window.slices] += 1
        assert window.shape == covered[window.slices].shape == (size, size)
    assert covered.min() >= 1
    assert len(set(windows)) == len(windows)


def test_tiles_overlap_by_what_was_asked_but_at_the_edge_by_more() -> None:
    columns = [window.col_off for window in tile(130, 64, 64, overlap=4)]
    assert columns == [0, 60, 66]
    assert [b - a for a, b in pairwise(columns)] == [60, 6]


def test_a_scene_smaller_than_a_patch_says_what_to_do() -> None:
    with pytest.raises(SceneError, match=r"found a scene of 100 x 40 .* at least 64 x 64.*smaller patch size"):
        tile(100, 40, 64)


def _shifted(cols: float, rows: float) -> Grid:
    a, b, c, d, e, f = UTM.transform
    return Grid(UTM.crs, (a, b, c + a * cols, d, e, f + e * rows), UTM.width, UTM.height)


@pytest.mark.parametrize(
    ("cols", "rows", "shared"),
    [(0, 0, True), (39, 24, True), (40, 0, False), (0, 25, False), (-40, 0, False), (39, 25, False), (-39, -24, True)],
)
def test_grids_share_ground_from_one_common_pixel_on(cols: int, rows: int, shared: bool) -> None:
    assert footprints_overlap(UTM, _shifted(cols, rows)) is shared
    assert footprints_overlap(_shifted(cols, rows), UTM) is shared


def test_an_overlap_of_less_than_a_pixel_is_no_common_ground() -> None:
    assert not footprints_overlap(UTM, _shifted(39.5, 24.5))


def test_ground_is_compared_across_reference_systems() -> None:
    left, bottom, right, top = UTM.footprint_wgs84().bounds
    width, height = (right - left) / 10, (top - bottom) / 10
    over = Grid("EPSG:4326", (width, 0.0, left, 0.0, -height, top), 10, 10)
    beside = Grid("EPSG:4326", (width, 0.0, right + width, 0.0, -height, top), 10, 10)
    far = Grid("EPSG:4326", (width, 0.0, left - 170.0, 0.0, -height, -top), 10, 10)
    assert footprints_overlap(UTM, over)
    assert footprints_overlap(over, UTM)
    assert not footprints_overlap(UTM, beside)
    assert not footprints_overlap(UTM, far)


def test_the_same_ground_in_the_next_utm_zone_is_common_ground() -> None:
    # 90 degrees east is the border of zones 45 and 46: easting 798,000 m in one is 202,000 m in the other.
    here = Grid("EPSG:32645", (30.0, 0.0, 790000.0, 0.0, -30.0, 3100000.0), 300, 300)
    xs, ys = warp("EPSG:32645", "EPSG:32646", [790000.0 + 4500.0], [3100000.0 - 4500.0])
    there = Grid("EPSG:32646", (30.0, 0.0, xs[0], 0.0, -30.0, ys[0]), 300, 300)
    elsewhere = Grid("EPSG:32646", (30.0, 0.0, xs[0] + 20000.0, 0.0, -30.0, ys[0]), 300, 300)
    assert footprints_overlap(here, there)
    assert not footprints_overlap(here, elsewhere)


def test_of_many_the_first_two_that_overlap_are_found() -> None:
    apart = [_shifted(40 * place, 0) for place in range(50)]
    assert first_overlap(apart) is None
    x, y = _centre(apart[30])
    in_degrees = Grid("EPSG:4326", (1e-5, 0.0, x, 0.0, -1e-5, y), 2, 2)
    assert first_overlap([*apart, in_degrees]) == (30, 50)
    assert first_overlap([*apart, in_degrees, _shifted(40 * 7 + 39, 0)]) == (7, 51)
    assert first_overlap([*apart[:7], *apart[9:], _shifted(40 * 7, 0)]) is None
    turn = Grid("EPSG:4326", (1.0, 0.0, 539.5, 0.0, -1.0, 30.0), 1, 1)  # degrees that others count from -180
    assert first_overlap([turn, Grid("EPSG:4326", (1.0, 0.0, 179.5, 0.0, -1.0, 30.0), 1, 1)]) == (0, 1)
    assert first_overlap([]) is None


def _centre(grid: Grid) -> tuple[float, float]:
    point = grid.footprint_wgs84().centroid
    return point.x, point.y


def test_grids_coincide_whether_the_crs_is_a_code_or_spelt_out() -> None:
    wkt = rasterio.CRS.from_epsg(32645).to_wkt()
    assert UTM.coincides(Grid(wkt, UTM.transform, UTM.width, UTM.height))
    assert not UTM.coincides(_shifted(0.5, 0.0))
    assert not UTM.coincides(Grid("EPSG:32646", UTM.transform, UTM.width, UTM.height))


@pytest.mark.parametrize(
    ("corners", "margin_px", "expected"),
    [
        # Pixels of 10 m from (0, 100) eastwards and southwards, 20 columns and 10 rows.
        ([(25, 81), (48, 64)], 0, Window(row_off=1, col_off=2, height=3, width=3)),
        ([(25, 81), (48, 64)], 2, Window(row_off=0, col_off=0, height=6, width=7)),
        ([(20, 80)], 0, Window(row_off=2, col_off=2, height=1, width=1)),  # a corner of four pixels
        ([(-500, 500), (500, -500)], 0, Window(row_off=0, col_off=0, height=10, width=20)),
        ([(-30, 50), (-1, 40)], 0, None),
        ([(-30, 50), (-1, 40)], 1, Window(row_off=4, col_off=0, height=3, width=1)),
        ([(200, 50)], 0, None),
        ([(25, 81), (math.inf, 64)], 0, None),
    ],
)
def test_a_window_around_points_is_the_part_of_the_grid_that_holds_them(
    corners: list[tuple[float, float]], margin_px: float, expected: Window | None
) -> None:
    grid = Grid("EPSG:32645", (10.0, 0.0, 0.0, 0.0, -10.0, 100.0), width=20, height=10)
    assert grid.window_around(np.array(corners, dtype=np.float64), margin_px) == expected


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4269"])
@pytest.mark.parametrize(
    ("west", "longitudes", "columns"),
    [
        # Pixels of a quarter of a degree, 8 columns from the west.
        (-80, (-79.5, -79), range(2, 4)),
        (280, (-79.5, -79), range(2, 4)),
        (280, (-85, -79), range(4)),
        (280, (280.5, 281), range(2, 4)),
        (-440, (-79.5, -79), range(2, 4)),
        (179, (179.5, 179.75), range(2, 3)),
        (179, (-179.5, -179.25), range(6, 7)),
        (179, (-180, 180), range(8)),
        (280, (-70, -69), range(0)),
    ],
)
def test_a_window_is_found_however_the_grid_counts_longitudes(
    crs: str, west: float, longitudes: tuple[float, float], columns: range
) -> None:
    grid = Grid(crs, (0.25, 0.0, west, 0.0, -0.25, 2.0), width=8, height=8)
    found = grid.window_around(np.array([(longitude, latitude) for longitude in longitudes for latitude in (1, 1.25)]))
    assert found == (Window(3, columns.start, 1, len(columns)) if columns else None)


def test_points_at_both_ends_of_a_grid_around_the_globe_do_not_take_all_between() -> None:
    """Of the columns of 0.25 degrees, three lie west of 180 degrees and two east of it."""
    grid = Grid("EPSG:4326", (0.25, 0.0, -180, 0.0, -0.25, 2.0), width=1440, height=8)
    assert grid.window_around(np.array([(179.3, 1), (180.45, 1.25)])) == Window(3, 1437, 1, 3)
    assert grid.window_around(np.array([(179.6, 1), (180.7, 1.25)])) == Window(3, 0, 1, 3)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-80.5, 1, -79.5, 1.25), Window(3, 0, 1, 2)),
        ((-79.5, 1, -79.5, 1), Window(4, 2, 1, 1)),  # a place
        ((-180, -85, 180, 85), Window(0, 0, 8, 8)),
        ((-180, -90, 180, 90), Window(0, 0, 8, 8)),
        ((170, -5, -79.5, 5), Window(0, 0, 8, 2)),  # across the antimeridian, from there eastwards to the scene
        ((-79.5, -5, 170, 5), Window(0, 2, 8, 6)),
        ((170, -5, -90, 5), None),
        ((-80, 3, -79, 4), None),
    ],
)
def test_a_window_in_a_box_is_the_part_of_the_grid_that_lies_in_it(
    box: tuple[float, float, float, float], expected: Window | None
) -> None:
    """8 x 8 pixels of a quarter of a degree, from 80 W and 2 N, with longitudes counted from 0 to 360."""
    assert Grid("EPSG:4326", (0.25, 0.0, 280, 0.0, -0.25, 2.0), width=8, height=8).window_in_box(*box) == expected


def test_a_box_across_the_antimeridian_cuts_a_scene_that_lies_there() -> None:
    grid = Grid("EPSG:4326", (0.25, 0.0, 179, 0.0, -0.25, 2.0), width=8, height=8)
    assert grid.window_in_box(179.5, 1, -179.5, 1.25) == Window(3, 2, 1, 4)
    assert grid.window_in_box(-180, -85, 180, 85) == grid.window


@pytest.mark.parametrize("box", [(-180, -85, 180, 85), (-180, -90, 180, 90), (0, 0, 179, 89), (80, 20, -90, 40)])
def test_a_box_that_holds_a_scene_in_utm_holds_all_of_its_pixels(box: tuple[float, float, float, float]) -> None:
    grid = Grid("EPSG:32645", (30.0, 0.0, 400_000, 0.0, -30.0, 3_200_000), width=7000, height=7000)
    assert grid.window_in_box(*box) == grid.window
    assert grid.window_in_box(-180, -85, 80, 85) is None
