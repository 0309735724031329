from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer

from imagery import masks
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME
from imagery.errors import OutlineError, SceneError
from imagery.geotiff import encode
from imagery.grid import Grid, Window
from imagery.masks import (
    OutlineLayer,
    check_values,
    compose,
    despeckle,
    mask_from_geotiff,
    mask_to_geotiff,
    rasterize_outlines,
)
from tests.imagery.forge import UTM_45N, forge_scene, write_polygons
from tests.land_cover import LAND_COVER

GRID = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=20, height=10)


def _ground(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A rectangle of `GRID`'s columns and rows, on the ground."""
    return shapely.box(478000 + 30 * left, 3108140 - 30 * bottom, 478000 + 30 * right, 3108140 - 30 * top)


def _clean(path: Path, layer: str | None = None) -> OutlineLayer:
    return OutlineLayer(str(path), layer, CLEAN_ICE.name)


class TestCompose:
    def test_starts_as_background(self) -> None:
        mask = compose([], 2, 3)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, np.zeros((2, 3)))

    def test_what_is_drawn_last_wins_brush_or_polygon(self) -> None:
        brush = np.zeros((4, 6), dtype=np.bool_)
        brush[1:3] = True
        polygon = shapely.box(2, 0, 4, 4)
        over = compose([(1, brush), (2, polygon)], 4, 6)
        under = compose([(2, polygon), (1, brush)], 4, 6)
        assert over[1].tolist() == [1, 1, 2, 2, 1, 1]
        assert under[1].tolist() == [1, 1, 1, 1, 1, 1]
        assert over[0].tolist() == under[0].tolist() == [0, 0, 2, 2, 0, 0]

    def test_a_polygon_covers_the_pixels_whose_centres_it_holds(self) -> None:
        # x right, y down: columns 1 and 2 of row 0; 0.6 is past the first pixel's centre, 2.4 is not past the third's.
        mask = compose([(1, shapely.box(0.6, 0, 2.4, 1))], 2, 4)
        assert mask.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]

    def test_holes_show_what_lies_below(self) -> None:
        ring = shapely.box(0, 0, 5, 5).difference(shapely.box(1, 1, 4, 4))
        mask = compose([(1, shapely.box(0, 0, 5, 5)), (255, ring)], 5, 5)
        assert mask[0].tolist() == [255] * 5
        assert mask[2].tolist() == [255, 1, 1, 1, 255]

    def test_background_can_be_painted_too(self) -> None:
        assert compose([(1, shapely.box(0, 0, 2, 1)), (0, shapely.box(0, 0, 1, 1))], 1, 2).tolist() == [[0, 1]]

    @pytest.mark.parametrize(
        ("value", "covered", "message"),
        [
            (256, np.zeros((2, 2), dtype=np.bool_), "class value 256; expected 0 to 255"),
            (1, np.zeros((2, 3), dtype=np.bool_), r"bool of shape \(2, 3\); expected bool of shape \(2, 2\)"),
            (1, np.zeros((2, 2), dtype=np.uint8), "found uint8"),
            (1, shapely.LineString([(0, 0), (1, 1)]), "LINESTRING.*expected a polygon"),
            (1, shapely.Polygon(), "POLYGON EMPTY.*expected a polygon"),
        ],
    )
    def test_anything_else_is_refused(self, value: int, covered: object, message: str) -> None:
        with pytest.raises(OutlineError, match=message):
            compose([(value, covered)], 2, 2)  # type: ignore[list-item]


class TestRasterizeOutlines:
    def test_gives_the_forged_truth_with_its_hole_and_debris_over_clean_ice(self, tmp_path: Path) -> None:
        scene = forge_scene(tmp_path / "a.tif")
        np.testing.assert_array_equal(rasterize_outlines(scene.outlines, scene.grid, GLACIER_SCHEME), scene.truth)
        np.testing.assert_array_equal(rasterize_outlines(scene.outlines[::-1], scene.grid, GLACIER_SCHEME), scene.truth)

    def test_a_window_is_that_part_of_the_scene(self, tmp_path: Path) -> None:
        scene = forge_scene(tmp_path / "a.tif")
        window = Window(25, 35, 40, 50)
        np.testing.assert_array_equal(
            rasterize_outlines(scene.outlines, scene.grid, GLACIER_SCHEME, window), scene.truth[window.slices]
        )

    @pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32646", "EPSG:3857"])
    @pytest.mark.parametrize("ending", ["gpkg", "shp"])
    def test_any_crs_is_moved_onto_the_scene(self, tmp_path: Path, crs: str, ending: str) -> None:
        ground = _ground(5, 2, 9, 7)
        move = Transformer.from_crs(UTM_45N, crs, always_xy=True)
        there = shapely.transform(shapely.segmentize(ground, 30), lambda xy: np.column_stack(move.transform(*xy.T)))
        mask = rasterize_outlines(
            [_clean(write_polygons(tmp_path / f"a.{ending}", {"a": [there]}, crs=crs))], GRID, GLACIER_SCHEME
        )
        expected = np.zeros((10, 20))
        expected[2:7, 5:9] = 1
        np.testing.assert_array_equal(mask, expected)

    def test_geojson_is_read_as_longitude_and_latitude(self, tmp_path: Path) -> None:
        move = Transformer.from_crs(UTM_45N, "EPSG:4326", always_xy=True)
        there = shapely.transform(_ground(5, 2, 9, 7), lambda xy: np.column_stack(move.transform(*xy.T)))
        path = write_polygons(tmp_path / "a.geojson", {"a": [there]}, crs="EPSG:4326", driver="GeoJSON")
        assert (rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME) == 1).sum() == 5 * 4

    def test_masked_wins_over_ice(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"ice": [_ground(0, 0, 4, 4)], "cloud": [_ground(2, 0, 6, 4)]})
        cloud = OutlineLayer(str(path), "cloud", GLACIER_SCHEME.unknown.name)
        debris = OutlineLayer(str(path), "ice", DEBRIS_COVERED_ICE.name)
        mask = rasterize_outlines([cloud, debris], GRID, GLACIER_SCHEME)
        assert mask[0, :7].tolist() == [2, 2, 255, 255, 255, 255, 0]

    def test_precedence_decides_not_the_order_of_values(self, tmp_path: Path) -> None:
        """Snow (1) lies over water (2) where both overlap, in columns 2 and 3, and cloud over both."""
        path = write_polygons(tmp_path / "a.gpkg", {"snow": [_ground(0, 0, 4, 4)], "water": [_ground(2, 0, 7, 4)]})
        write_polygons(path, {"cloud": [_ground(3, 0, 4, 4)]})
        layers = [OutlineLayer(str(path), name, name) for name in ("cloud", "snow", "water")]
        for given in (layers, layers[::-1]):
            assert rasterize_outlines(given, GRID, LAND_COVER)[0, :8].tolist() == [1, 1, 1, 255, 2, 2, 2, 0]

    def test_an_invalid_outline_is_repaired(self, tmp_path: Path) -> None:
        # A bow tie: two triangles, on the left and the right side, that meet in the middle.
        x0, y0, x1, y1 = _ground(0, 0, 9, 8).bounds
        bow_tie = shapely.Polygon([(x0, y0), (x1, y1), (x1, y0), (x0, y1)])
        mask = rasterize_outlines([_clean(write_polygons(tmp_path / "a.gpkg", {"a": [bow_tie]}))], GRID, GLACIER_SCHEME)
        assert mask[0, :9].tolist() == mask[7, :9].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1]
        assert mask[3, :9].tolist() == mask[4, :9].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1]

    def test_a_sliver_without_area_covers_nothing(self, tmp_path: Path) -> None:
        x0, y0, x1, y1 = _ground(0, 0, 9, 8).bounds
        sliver = shapely.Polygon([(x0, y0), (x1, y1), (x0, y0)])
        path = write_polygons(tmp_path / "a.gpkg", {"a": [sliver, _ground(0, 0, 2, 1)]})
        assert (rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME) == 1).sum() == 2

    def test_ground_without_ice_inside_the_outlines_extent_is_background(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"a": [_ground(-50, -50, -40, -40), _ground(60, 60, 70, 70)]})
        assert rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME).max() == 0

    def test_outlines_that_miss_the_scene_name_both_extents(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"a": [shapely.box(8.0, 46.0, 8.1, 46.1)]}, crs="EPSG:4326")
        with pytest.raises(
            OutlineError, match=r"covers x 8 to 8\.1, y 46 to 46\.1 and the scene x 86\.\d+ to .* in EPSG:4326"
        ):
            rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME)

    def test_one_layer_may_miss_the_scene_when_another_does_not(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"near": [_ground(0, 0, 2, 2)], "far": [_ground(90, 90, 92, 92)]})
        assert (rasterize_outlines([_clean(path, "near"), _clean(path, "far")], GRID, GLACIER_SCHEME) == 1).sum() == 4

    def test_a_missing_crs_is_refused(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.shp", {"a": [_ground(0, 0, 2, 2)]})
        path.with_suffix(".prj").unlink()
        with pytest.raises(OutlineError, match=r"no coordinate reference system.*\.prj"):
            rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME)

    def test_the_layer_must_be_chosen_where_there_are_several(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"one": [_ground(0, 0, 2, 2)], "two": [_ground(0, 0, 2, 2)]})
        with pytest.raises(OutlineError, match="found the layers one, two; expected one of them to be named"):
            rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME)
        with pytest.raises(OutlineError, match="found no layer 'three'; expected one of one, two"):
            rasterize_outlines([_clean(path, "three")], GRID, GLACIER_SCHEME)

    def test_points_are_no_outlines(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"a": [_ground(0, 0, 2, 2).centroid]})
        with pytest.raises(
            OutlineError, match=r"no polygon near the scene; left out because they are no polygons: Point \(1\)"
        ):
            rasterize_outlines([_clean(path)], GRID, GLACIER_SCHEME)

    def test_background_and_unknown_classes_are_refused(self, tmp_path: Path) -> None:
        path = write_polygons(tmp_path / "a.gpkg", {"a": [_ground(0, 0, 2, 2)]})
        with pytest.raises(OutlineError, match="draw islands of it as holes"):
            rasterize_outlines([OutlineLayer(str(path), None, "background")], GRID, GLACIER_SCHEME)
        with pytest.raises(ValueError, match="unknown class 'snow'"):
            rasterize_outlines([OutlineLayer(str(path), None, "snow")], GRID, GLACIER_SCHEME)

    def test_other_formats_are_refused_whatever_their_ending(self, tmp_path: Path) -> None:
        gml, vrt = tmp_path / "a.gml", tmp_path / "a.geojson"
        gml.write_text("<gml/>")
        # GDAL, asked without care, follows this to any other file.
        vrt.write_text('<OGRVRTDataSource><OGRVRTLayer name="a"></OGRVRTLayer></OGRVRTDataSource>')
        with pytest.raises(OutlineError, match=r"found the ending '\.gml'; expected one of \.gpkg, "):
            rasterize_outlines([_clean(gml)], GRID, GLACIER_SCHEME)
        with pytest.raises(OutlineError, match=r"begins with b'<OGRVRT.*expected a file in the format GeoJSON"):
            rasterize_outlines([_clean(vrt)], GRID, GLACIER_SCHEME)
        topojson = tmp_path / "b.json"
        topojson.write_text(
            '{"type": "Topology", "objects": {"a": {"type": "GeometryCollection", "geometries": '
            '[{"type": "Polygon", "arcs": [[0]]}]}}, "arcs": [[[86, 27], [87, 27], [87, 28], [86, 27]]]}'
        )
        with pytest.raises(OutlineError, match="found JSON that is no GeoJSON"):
            rasterize_outlines([_clean(topojson)], GRID, GLACIER_SCHEME)
        with pytest.raises(OutlineError, match="found no readable file"):
            rasterize_outlines([_clean(tmp_path / "missing.gpkg")], GRID, GLACIER_SCHEME)

    def test_a_damaged_or_empty_file_is_refused(self, tmp_path: Path) -> None:
        damaged, empty = tmp_path / "a.geojson", tmp_path / "b.geojson"
        damaged.write_text('{"type": "FeatureCollection", "features": [{"type": "Feat')
        empty.write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(OutlineError, match=r"a\.geojson"):
            rasterize_outlines([_clean(damaged)], GRID, GLACIER_SCHEME)
        with pytest.raises(OutlineError, match="found no features"):
            rasterize_outlines([_clean(empty)], GRID, GLACIER_SCHEME)


class TestFiles:
    MASK = np.array([[0, 1, 2], [255, 1, 0]], dtype=np.uint8)

    def test_a_mask_survives_a_geotiff_and_lies_in_its_place(self) -> None:
        data = mask_to_geotiff(self.MASK, GRID, GLACIER_SCHEME, Window(4, 7, 2, 3))
        np.testing.assert_array_equal(mask_from_geotiff(data, GLACIER_SCHEME), self.MASK)
        with rasterio.MemoryFile(data) as memory, memory.open() as dataset:
            assert dataset.crs.to_epsg() == 32645
            assert tuple(dataset.bounds) == _ground(7, 4, 10, 6).bounds
            assert dataset.nodata == 255
            assert dataset.colormap(1)[1][:3] == CLEAN_ICE.rgb
            # The ground under the debris pixel: first row, third column of the window.
            x, y = _ground(9, 4, 10, 5).centroid.coords[0]
            assert next(dataset.sample([(x, y)]))[0] == 2

    def test_the_same_mask_gives_the_same_bytes(self) -> None:
        window = Window(4, 7, 2, 3)
        assert mask_to_geotiff(self.MASK, GRID, GLACIER_SCHEME, window) == mask_to_geotiff(
            self.MASK, GRID, GLACIER_SCHEME, window
        )

    def test_a_map_of_a_scene_has_the_size_of_its_grid_however_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(masks, "_LARGEST_MASK_PX", 10 * 20 - 1)
        whole = np.arange(10 * 20, dtype=np.uint8).reshape(10, 20) % 3
        data = mask_to_geotiff(whole, GRID, GLACIER_SCHEME)
        np.testing.assert_array_equal(mask_from_geotiff(data, GLACIER_SCHEME, GRID), whole)
        with pytest.raises(SceneError, match=r"found 1 bands of uint8, 20 x 10 px; expected .* at most 199 px"):
            mask_from_geotiff(data, GLACIER_SCHEME)
        part = mask_to_geotiff(self.MASK, GRID, GLACIER_SCHEME, Window(4, 7, 2, 3))
        with pytest.raises(SceneError, match=r"found 1 bands of uint8, 3 x 2 px; expected .* uint8, 20 x 10 px"):
            mask_from_geotiff(part, GLACIER_SCHEME, GRID)

    def test_what_is_no_label_mask_is_refused(self) -> None:
        with pytest.raises(OutlineError, match=r"values \[7\] in a label mask; expected only \[0, 1, 2, 255\]"):
            mask_to_geotiff(np.full((10, 20), 7, dtype=np.uint8), GRID, GLACIER_SCHEME)
        with pytest.raises(OutlineError, match="found a mask of int64; expected uint8"):
            check_values(np.zeros((2, 2), dtype=np.int64), GLACIER_SCHEME)  # type: ignore[arg-type]
        with pytest.raises(SceneError, match="found an array of shape"):
            mask_to_geotiff(self.MASK, GRID, GLACIER_SCHEME)
        with pytest.raises(SceneError, match="no GeoTIFF"):
            mask_from_geotiff(b"\x89PNG", GLACIER_SCHEME)
        with pytest.raises(SceneError, match="found 1 bands of float32"):
            mask_from_geotiff(encode(np.zeros((10, 20), dtype=np.float32), GRID, nodata=0), GLACIER_SCHEME)
        with pytest.raises(OutlineError, match=r"values \[9\]"):
            mask_from_geotiff(encode(np.full((10, 20), 9, dtype=np.uint8), GRID, nodata=0), GLACIER_SCHEME)


class TestDespeckle:
    def test_specks_take_the_class_around_them(self) -> None:
        mask = np.zeros((6, 6), dtype=np.uint8)
        mask[1, 1] = 1  # a speck
        mask[3:6, 3:6] = 2  # nine pixels stay
        cleaned = despeckle(mask, 4)
        assert cleaned[1, 1] == 0
        assert (cleaned == 2).sum() == 9

    def test_masked_pixels_neither_change_nor_spread(self) -> None:
        mask = np.full((5, 5), 255, dtype=np.uint8)
        mask[2, 2] = 1
        mask[0, 0:4] = 0
        np.testing.assert_array_equal(despeckle(mask, 3), mask)
        speck = np.zeros((5, 5), dtype=np.uint8)
        speck[2, 2] = 255
        np.testing.assert_array_equal(despeckle(speck, 3), speck)

    def test_one_pixel_is_the_smallest_patch(self) -> None:
        mask = np.eye(4, dtype=np.uint8)
        np.testing.assert_array_equal(despeckle(mask, 1), mask)
