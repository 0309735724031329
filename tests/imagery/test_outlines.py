import json
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.warp import transform as warp
from shapely.geometry import shape

from imagery.classes import GLACIER_SCHEME
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.outline_table import TerrainStrip, tabulate
from imagery.outlines import write_outlines_geojson, write_outlines_gpkg, write_outlines_shapefile
from tests.imagery.forge import UTM_45N

GRID = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=40, height=30)

RING = np.zeros((30, 40), dtype=np.uint8)
RING[5:15, 10:30] = 1
RING[8:10, 15:20] = 0
RING[20:25, 2:6] = 2
RING[0, 0] = 255


def test_geojson_is_wgs84_counter_clockwise_with_class_and_ellipsoidal_area() -> None:
    collection = json.loads(write_outlines_geojson(tabulate(RING, GRID, GLACIER_SCHEME.names)))
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


def _write(directory: Path, ending: str, mask: np.ndarray, grid: Grid) -> Path:
    path = directory / f"outlines.{ending}"
    if ending == "geojson":
        path.write_bytes(write_outlines_geojson(tabulate(mask, grid, GLACIER_SCHEME.names)))
    elif ending == "gpkg":
        path.write_bytes(write_outlines_gpkg(tabulate(mask, grid, GLACIER_SCHEME.names), "glacier_outlines"))
    else:
        with ZipFile(
            BytesIO(write_outlines_shapefile(tabulate(mask, grid, GLACIER_SCHEME.names), "glacier_outlines"))
        ) as archive:
            archive.extractall(directory)
        path = directory / "glacier_outlines.shp"
    return path


def _burn_again(path: Path, grid: Grid) -> np.ndarray:
    return rasterize_outlines(
        [OutlineLayer(str(path), None, name) for name in ("clean ice", "debris-covered ice")], grid, GLACIER_SCHEME
    )


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "shp"])
def test_one_file_of_both_classes_burnt_again_gives_the_same_mask(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path, ending, RING, GRID)
    np.testing.assert_array_equal(_burn_again(path, GRID), np.where(RING == 255, 0, RING))


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "shp"])
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM_45N, (10.0, 0.0, 478000.0, 0.0, -10.0, 3108140.0)),
        ("EPSG:32645", (30.0, 0.0, 478000.0, 0.0, 30.0, 3100000.0)),  # south-up
        ("EPSG:4326", (1e-4, 0.0, 86.9, 0.0, -1e-4, 28.0)),
        ("EPSG:3031", (30.0, 0.0, -2400000.0, 0.0, -30.0, 1200000.0)),  # polar stereographic
    ],
)
def test_files_of_random_masks_burnt_again_are_exact_in_any_crs(
    tmp_path: Path, ending: str, crs: str, transform: tuple[float, ...]
) -> None:
    mask = np.random.default_rng(0).choice([0, 1, 2], size=(60, 70)).astype(np.uint8)
    grid = Grid(crs, transform, width=70, height=60)  # type: ignore[arg-type]
    np.testing.assert_array_equal(_burn_again(_write(tmp_path, ending, mask, grid), grid), mask)


def test_geojson_is_rounded_to_a_ten_millionth_of_a_degree() -> None:
    collection = json.loads(write_outlines_geojson(tabulate(RING, GRID, GLACIER_SCHEME.names)))
    points = shapely.get_coordinates([shape(feature["geometry"]) for feature in collection["features"]])
    np.testing.assert_array_equal(points, points.round(7))


def test_a_shapefile_brings_its_crs_and_its_encoding(tmp_path: Path) -> None:
    with ZipFile(
        BytesIO(write_outlines_shapefile(tabulate(RING, GRID, GLACIER_SCHEME.names), "glacier_outlines"))
    ) as archive:
        assert archive.namelist() == [f"glacier_outlines.{ending}" for ending in ("cpg", "dbf", "prj", "shp", "shx")]
        assert archive.read("glacier_outlines.cpg") == b"UTF-8"
        archive.extractall(tmp_path)
    meta, _, wkb, columns = pyogrio.raw.read(tmp_path / "glacier_outlines.shp")
    fields = dict(zip(meta["fields"], columns, strict=True))
    assert meta["crs"] == UTM_45N
    assert fields["class"].tolist() == ["clean ice", "debris-covered ice"]
    assert shapely.area(shapely.from_wkb(wkb)).tolist() == [190 * 900, 20 * 900]


def test_unknown_relief_is_null_in_every_file(tmp_path: Path) -> None:
    unknown = [TerrainStrip(0, np.full((30, 40), np.nan), np.full((30, 40), 10.0))]
    features = json.loads(write_outlines_geojson(tabulate(RING, GRID, GLACIER_SCHEME.names, terrain=unknown)))[
        "features"
    ]
    assert [(item["properties"]["zmed_m"], item["properties"]["slope_deg"]) for item in features] == [(None, 10)] * 2
    path = tmp_path / "a.gpkg"
    path.write_bytes(
        write_outlines_gpkg(tabulate(RING, GRID, GLACIER_SCHEME.names, terrain=unknown), "glacier_outlines")
    )
    assert pyogrio.raw.read(path, where="zmed_m IS NULL", columns=[])[2].size == 2


def test_geopackage_is_in_the_scenes_crs_with_the_same_areas(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(write_outlines_gpkg(tabulate(RING, GRID, GLACIER_SCHEME.names), "glacier_outlines"))
    meta, _, wkb, columns = pyogrio.raw.read(path, layer="glacier_outlines")
    fields = dict(zip(meta["fields"], columns, strict=True))
    assert meta["crs"] == UTM_45N
    assert fields["class"].tolist() == ["clean ice", "debris-covered ice"]
    clean = shapely.from_wkb(wkb[0])
    assert clean.area == 190 * 900
    assert clean.bounds == (478300.0, 3107690.0, 478900.0, 3107990.0)
    geojson = json.loads(write_outlines_geojson(tabulate(RING, GRID, GLACIER_SCHEME.names)))["features"]
    assert fields["area_km2"].tolist() == pytest.approx(
        [feature["properties"]["area_km2"] for feature in geojson], abs=1e-6
    )


def test_a_mask_without_ice_has_no_outlines(tmp_path: Path) -> None:
    empty = np.zeros((30, 40), dtype=np.uint8)
    assert json.loads(write_outlines_geojson(tabulate(empty, GRID, GLACIER_SCHEME.names))) == {
        "type": "FeatureCollection",
        "features": [],
    }
    for ending in ("gpkg", "shp"):
        assert pyogrio.read_info(_write(tmp_path, ending, empty, GRID), force_feature_count=True)["features"] == 0


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(SceneError, match=r"found an array of shape \(40, 30\); expected \(30, 40\)"):
        write_outlines_geojson(tabulate(RING.T, GRID, GLACIER_SCHEME.names))
