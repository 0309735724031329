"""Outlines lie where they belong: across the antimeridian, at the poles, and where edges are long in another CRS."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from imagery.border import Border, BorderSource
from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError
from imagery.grid import Grid, Window, footprints_overlap
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.projection import transform_points
from imagery.vector_geometry import unwrapped
from imagery.vectors import read_layer
from tests.imagery.forge import UTM_45N, write_polygons

WGS84 = "EPSG:4326"
# 0.001 degree to the pixel, from 179.92 E to 179.92 W.
WRANGEL = Grid(WGS84, (0.001, 0.0, 179.92, 0.0, -0.001, 71.25), width=160, height=100)
SAME_GROUND_FROM_THE_WEST = Grid(WGS84, (0.001, 0.0, -180.08, 0.0, -0.001, 71.25), width=160, height=100)
ZONE_1 = Grid("EPSG:32601", (90.0, 0.0, 380000.0, 0.0, -90.0, 7915000.0), width=150, height=150)
ZONE_60 = Grid("EPSG:32660", (90.0, 0.0, 605000.0, 0.0, -90.0, 7915000.0), width=150, height=150)
EAST, WEST = shapely.box(179.95, 71.19, 179.98, 71.2), shapely.box(-179.98, 71.19, -179.95, 71.2)  # 30 x 10 px each
BOTH_SIDES = [shapely.box(179.9, 71.19, 180, 71.25), shapely.box(-180, 71.19, -179.9, 71.22)]


def _ice(path: Path, grid: Grid) -> NDArray[np.bool_]:
    ice: NDArray[np.bool_] = rasterize_outlines([OutlineLayer(str(path), None, "clean ice")], grid, GLACIER_SCHEME) == 1
    return ice


def _centres_in(grid: Grid, crs: str, shift: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the centre of each pixel lies in another CRS, shifted."""
    rows, cols = np.mgrid[0.5 : grid.height, 0.5 : grid.width]
    a, b, c, d, e, f = grid.transform
    points = np.column_stack([(a * cols + b * rows + c).ravel(), (d * cols + e * rows + f).ravel()])
    x, y = (points if grid.crs == crs else transform_points(points, grid.crs, crs)).T
    return x.reshape(rows.shape) + shift, y.reshape(rows.shape)


def _inside(grid: Grid, polygons: list[shapely.Polygon], crs: str, period: float | None) -> NDArray[np.bool_]:
    """Which pixels have their centre in a polygon, asked in the polygons' own CRS: edges are exact there."""
    inside = np.zeros((grid.height, grid.width), dtype=np.bool_)
    for shift in (0.0,) if period is None else (-period, 0.0, period):
        x, y = _centres_in(grid, crs, shift)
        for polygon in polygons:
            inside |= shapely.contains_xy(polygon, x, y)
    return inside


NORTH_POLE = Grid("EPSG:3413", (5000.0, 0.0, -500000.0, 0.0, -5000.0, 500000.0), width=201, height=200)
SOUTH_POLE = Grid("EPSG:3031", (3500.0, 3500.0, -700000.0, 3500.0, -3500.0, 0.0), width=200, height=200)  # turned by 45
SEAM = 20037508.342789244  # of Web Mercator, metres
PLACES: dict[str, tuple[Grid, list[shapely.Polygon], str]] = {
    "a box of degrees wider than the scene": (
        Grid(UTM_45N, (100.0, 0.0, 400000.0, 0.0, -100.0, 3200000.0), width=180, height=150),
        [shapely.box(60, 20, 110, 28.87)],
        WGS84,
    ),
    "an edge across a continent": (
        Grid(UTM_45N, (100.0, 0.0, 400000.0, 0.0, -100.0, 3200000.0), width=180, height=150),
        [shapely.Polygon([(20, 10), (150, 47), (150, 10)])],
        WGS84,
    ),
    "polar stereographic outlines of a scene in degrees": (
        Grid(WGS84, (0.02, 0.0, 10.0, 0.0, -0.02, 80.0), width=150, height=100),
        [shapely.box(900000, -700000, 1050000, -600000)],
        "EPSG:3413",
    ),
    "round the north pole": (NORTH_POLE, [shapely.box(-180, 86, 180, 90), shapely.box(20, 83, 50, 87)], WGS84),
    "two halves at the south pole": (
        SOUTH_POLE,
        [shapely.box(-180, -90, -20, -86), shapely.box(20, -87, 180, -83)],
        WGS84,
    ),
    "degrees": (WRANGEL, [EAST, WEST], WGS84),
    "degrees counted from the west": (SAME_GROUND_FROM_THE_WEST, BOTH_SIDES, WGS84),
    "degrees of another datum": (WRANGEL, BOTH_SIDES, "EPSG:4269"),
    "UTM zone 1": (ZONE_1, BOTH_SIDES, WGS84),
    "UTM zone 60": (ZONE_60, BOTH_SIDES, WGS84),
    "longitudes from 0 to 360": (
        Grid(WGS84, (0.001, 0.0, -73.0, 0.0, -0.001, -48.0), width=160, height=100),
        [shapely.box(287.05, -48.08, 287.1, -48.02)],
        WGS84,
    ),
    "Web Mercator on both sides of its seam": (
        ZONE_1,
        [shapely.box(SEAM - 9000, 1.14e7, SEAM, 1.15e7), shapely.box(-SEAM, 1.141e7, -SEAM + 9000, 1.15e7)],
        "EPSG:3857",
    ),
    "a scene in Web Mercator across its seam": (
        Grid("EPSG:3857", (100.0, 0.0, SEAM - 8000, 0.0, -100.0, 11500000.0), width=160, height=100),
        [shapely.box(179.95, 70, 180, 71.2), shapely.box(-180, 70, -179.96, 71.5)],
        WGS84,
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_outlines_are_burnt_where_they_lie(tmp_path: Path, place: str) -> None:
    grid, polygons, crs = PLACES[place]
    period = 360.0 if crs in {WGS84, "EPSG:4269"} else 2 * SEAM if crs == "EPSG:3857" else None
    found = _ice(write_polygons(tmp_path / "a.gpkg", {"a": polygons}, crs=crs), grid)
    expected = _inside(grid, polygons, crs, period)
    assert 0.02 < expected.mean() < 0.98
    # Edges are exact to a tenth of a pixel: of the pixels along them, at most as many fall on the other side.
    along = expected ^ (expected & np.roll(expected, 1, 0) & np.roll(expected, 1, 1))
    assert (found != expected).sum() <= 0.2 * along.sum()


def test_ice_on_both_sides_of_the_antimeridian_is_burnt(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.geojson", {"a": [EAST, WEST]}, crs=WGS84, driver="GeoJSON")
    ice = _ice(path, WRANGEL)
    assert ice.sum() == 600
    assert ice[50:60, 30:60].all()
    assert ice[50:60, 100:130].all()


@pytest.mark.parametrize("grid", [WRANGEL, SAME_GROUND_FROM_THE_WEST])
def test_an_outline_that_jumps_across_the_antimeridian_is_continued(tmp_path: Path, grid: Grid) -> None:
    jumping = shapely.Polygon(
        [(179.95, 71.19), (-179.95, 71.19), (-179.95, 71.2), (179.95, 71.2)],
        [[(179.98, 71.193), (-179.98, 71.193), (-179.98, 71.197), (179.98, 71.197)]],
    )
    path = write_polygons(tmp_path / "a.gpkg", {"a": [jumping]}, crs=WGS84)
    assert _ice(path, grid).sum() == 100 * 10 - 40 * 4
    (repair,) = read_layer(str(path), None, grid).repairs
    assert "taken as one across the antimeridian" in repair.reason


def test_a_border_along_the_whole_map_is_no_jump() -> None:
    world = shapely.box(-180, -90, 180, 90)
    assert unwrapped(world, 360.0) is world
    assert unwrapped(shapely.MultiPolygon([EAST, WEST]), 360.0).area == pytest.approx(EAST.area + WEST.area)


def test_the_border_of_a_wide_region_is_exact(tmp_path: Path) -> None:
    """A box of 40 degrees has edges along parallels, which curve in UTM: 31 px in 18 km, if their ends were joined."""
    grid = Grid(UTM_45N, (10.0, 0.0, 400000.0, 0.0, -10.0, 3194500.0), width=100, height=200)
    border = Border(
        BorderSource(str(write_polygons(tmp_path / "a.gpkg", {"a": [shapely.box(66, 20, 106, 28.868)]}, crs=WGS84))),
        grid,
    )
    inside = border.inside(grid.affine, (200, 100))
    _, latitude = _centres_in(grid, WGS84)
    exact = latitude < 28.868
    assert 0.2 < exact.mean() < 0.8
    assert np.abs(inside.sum(axis=0) - exact.sum(axis=0)).max() <= 1


def test_a_layer_of_the_other_side_of_the_world_misses_the_scene(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [shapely.box(-1, 71.1, 1, 71.3)]}, crs=WGS84)
    with pytest.raises(OutlineError, match="found outlines that miss the scene"):
        _ice(path, WRANGEL)


@pytest.mark.parametrize("far", [1e10, 1e18])
def test_a_polygon_that_reaches_far_beyond_the_scene_is_burnt(tmp_path: Path, far: float) -> None:
    grid = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=160, height=100)
    wide = shapely.box(478000, 3108140 - 900, far, 3108140)
    assert _ice(write_polygons(tmp_path / "a.gpkg", {"a": [wide]}), grid).sum() == 30 * 160


def test_latitude_first_is_hinted_at(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [shapely.box(28.08, 86.78, 28.09, 86.79)]}, crs=WGS84)
    grid = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=160, height=100)
    with pytest.raises(OutlineError, match="latitude comes first in the file"):
        _ice(path, grid)


def test_the_footprint_of_a_scene_across_the_antimeridian_is_cut() -> None:
    for grid in (WRANGEL, SAME_GROUND_FROM_THE_WEST):
        footprint = grid.footprint_wgs84()
        assert footprint.bounds == pytest.approx((-180, 71.15, 180, 71.25))
        assert footprint.area == pytest.approx(0.16 * 0.1)
        assert grid.centre_wgs84() == pytest.approx((-180, 71.2))
    assert WRANGEL.centre_wgs84(Window(0, 120, 100, 40)) == pytest.approx((-179.94, 71.2))


def test_scenes_that_count_longitudes_differently_share_ground() -> None:
    beside = Grid(WGS84, (0.001, 0.0, -179.92, 0.0, -0.001, 71.25), width=160, height=100)
    assert footprints_overlap(WRANGEL, SAME_GROUND_FROM_THE_WEST)
    assert not footprints_overlap(WRANGEL, beside)
    zone_1 = Grid("EPSG:32601", (30.0, 0.0, 390000.0, 0.0, -30.0, 7906000.0), width=100, height=100)
    assert footprints_overlap(WRANGEL, zone_1)
    assert footprints_overlap(zone_1, SAME_GROUND_FROM_THE_WEST)
    assert not footprints_overlap(zone_1, NORTH_POLE)
