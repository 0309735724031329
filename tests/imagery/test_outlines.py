import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.warp import transform as warp
from shapely.geometry import shape

from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.masks import OutlineLayer, compose, rasterize_outlines
from imagery.outlines import mask_to_polygons, split_holes, write_outlines_geojson, write_outlines_gpkg
from tests.imagery.forge import UTM_45N

GRID = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=40, height=30)
MASKS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 15)), elements=st.sampled_from([0, 1, 2, 255]))

RING = np.zeros((30, 40), dtype=np.uint8)
RING[5:15, 10:30] = 1
RING[8:10, 15:20] = 0
RING[20:25, 2:6] = 2
RING[0, 0] = 255


def test_an_outline_runs_along_pixel_edges_and_keeps_its_hole() -> None:
    (clean,) = [polygon for value, polygon in mask_to_polygons(RING, [1])]
    assert clean.bounds == (10.0, 5.0, 30.0, 15.0)
    assert clean.area == 10 * 20 - 2 * 5
    assert shapely.Polygon(clean.interiors[0]).bounds == (15.0, 8.0, 20.0, 10.0)


def test_pixels_that_touch_at_a_corner_are_two_patches() -> None:
    assert len(mask_to_polygons(np.eye(2, dtype=np.uint8), [1])) == 2


@given(MASKS)
def test_polygons_give_back_exactly_their_pixels(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask, [1, 2, 255])
    assert all(polygon.is_valid for _, polygon in polygons)
    np.testing.assert_array_equal(compose(polygons, *mask.shape), mask)


@given(MASKS)
def test_parts_without_holes_give_back_exactly_the_same_pixels(mask: np.ndarray) -> None:
    parts = [(value, part) for value, whole in mask_to_polygons(mask, [1, 2, 255]) for part in split_holes(whole)]
    assert not any(part.interiors for _, part in parts)
    assert all(part.is_valid for _, part in parts)
    np.testing.assert_array_equal(compose(parts, *mask.shape), mask)


def test_parts_without_holes_have_the_area_of_the_whole_and_no_overlap() -> None:
    disc = shapely.Point(0, 0).buffer(10)
    holes = [
        shapely.Point(-3.3, 1).buffer(1.2),
        shapely.Polygon([(3, 3), (4, 3), (3, 4)]),
        shapely.Point(5, -5).buffer(0.1),
    ]
    whole = disc.difference(shapely.union_all(holes))
    parts = split_holes(whole)
    assert not any(part.interiors for part in parts)
    assert sum(part.area for part in parts) == pytest.approx(whole.area)
    assert shapely.union_all(parts).symmetric_difference(whole).area == pytest.approx(0.0, abs=1e-9)


def test_a_polygon_without_holes_is_left_alone() -> None:
    box = shapely.box(0, 0, 2, 3)
    assert split_holes(box) == [box]


def test_geojson_is_wgs84_counter_clockwise_with_class_and_ellipsoidal_area() -> None:
    collection = json.loads(write_outlines_geojson(RING, GRID))
    assert set(collection) == {"type", "features"}
    clean, debris = sorted(collection["features"], key=lambda feature: feature["properties"]["class"])
    assert clean["properties"]["class"] == "clean ice"
    assert debris["properties"]["class"] == "debris-covered ice"
    # 190 pixels of 900 m2 on the map; the ground is larger by the square of the scale factor, 0.9996 at the meridian.
    assert clean["properties"]["area_km2"] == pytest.approx(190 * 900e-6 / 0.9996**2, rel=1e-4)

    polygon = shape(clean["geometry"])
    assert polygon.exterior.is_ccw
    assert not polygon.interiors[0].is_ccw
    lon, lat = warp(UTM_45N, "EPSG:4326", [478000 + 300], [3108140 - 150])
    assert shapely.Point(polygon.bounds[0], polygon.bounds[3]).distance(shapely.Point(lon[0], lat[0])) < 1e-4


def test_geojson_burnt_again_gives_the_same_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    collection = json.loads(write_outlines_geojson(RING, GRID))
    for name in ("clean ice", "debris-covered ice"):
        some = [feature for feature in collection["features"] if feature["properties"]["class"] == name]
        path.with_stem(name).write_text(json.dumps({**collection, "features": some}))
    outlines = [OutlineLayer(str(path.with_stem(name)), None, name) for name in ("clean ice", "debris-covered ice")]
    np.testing.assert_array_equal(rasterize_outlines(outlines, GRID), np.where(RING == 255, 0, RING))


def test_geopackage_is_in_the_scenes_crs_with_the_same_areas(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(write_outlines_gpkg(RING, GRID))
    meta, _, wkb, (classes, areas) = pyogrio.raw.read(path, layer="glacier_outlines")
    assert meta["crs"] == UTM_45N
    assert classes.tolist() == ["clean ice", "debris-covered ice"]
    clean = shapely.from_wkb(wkb[0])
    assert clean.area == 190 * 900
    assert clean.bounds == (478300.0, 3107690.0, 478900.0, 3107990.0)
    geojson = json.loads(write_outlines_geojson(RING, GRID))["features"]
    assert areas.tolist() == pytest.approx([feature["properties"]["area_km2"] for feature in geojson], abs=1e-6)


def test_a_mask_without_ice_has_no_outlines(tmp_path: Path) -> None:
    empty = np.zeros((30, 40), dtype=np.uint8)
    assert json.loads(write_outlines_geojson(empty, GRID)) == {"type": "FeatureCollection", "features": []}
    path = tmp_path / "a.gpkg"
    path.write_bytes(write_outlines_gpkg(empty, GRID))
    assert pyogrio.read_info(path)["features"] == 0


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(SceneError, match=r"found an array of shape \(40, 30\); expected \(30, 40\)"):
        write_outlines_geojson(RING.T, GRID)
