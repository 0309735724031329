"""What somebody takes away of a view: the files of a prediction cut to a box, over HTTP, opened with GDAL."""

import io
import json
import sqlite3
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from flask.testing import FlaskClient
from numpy.typing import NDArray

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import Scene, now
from catalog.registry import ModelVersion
from imagery.grid import Grid, Window
from imagery.scene_source import SceneSource
from services.view_files import MOST_PIXELS
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene
from tests.services.predicting import store_prediction

VERSION: Final = 1
# Of the forged scene: it cuts the ice of both classes, and holds the island of rock whole.
WINDOW: Final = Window(15, 25, 60, 60)
RATIOS: Final = {"clean ice": (1.1, 0.9, 1.4), "debris-covered ice": (1.0, 0.8, 1.2)}


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    return forge_scene(tmp_path / "scene.tif")


@pytest.fixture
def scene(catalog: Catalog, forged: ForgedScene) -> Scene:
    """A scene that the served version maps as it is."""
    with catalog.write() as session:
        scene, _ = add_scene(session, "khumbu")
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        registry_copy.store(session, [ModelVersion(VERSION, "", now(), {})])
        registry_copy.set_aliases(session, {"champion": VERSION})
    store_prediction(catalog, scene, forged.truth, VERSION, of_outlines=RATIOS)
    return scene


class Asking:
    """Asks for files of a scene as a reader."""

    def __init__(self, client: FlaskClient, catalog: Catalog, scene: Scene) -> None:
        self.client, self.catalog, self.scene = client, catalog, scene

    def answer(self, suffix: str, bbox: str | None = None) -> Any:
        query = {} if bbox is None else {"bbox": bbox}
        address = f"/api/v1/scenes/{self.scene.id}/prediction.{suffix}"
        return self.client.get(address, headers=as_role(self.catalog, "reader"), query_string=query)

    def file(self, suffix: str, bbox: str) -> bytes:
        found = self.answer(suffix, bbox)
        assert found.status_code == 200, found.text
        return bytes(found.data)


@pytest.fixture
def asking(client: FlaskClient, catalog: Catalog, scene: Scene) -> Asking:
    return Asking(client, catalog, scene)


def box_within(grid: Grid, window: Window) -> str:
    """A box in degrees whose smallest window of pixels is this one: a third of a pixel within its edges."""
    inner = shapely.transform(
        grid.footprint(window), lambda at: at + np.where(at < at.mean(axis=0), 1, -1) * abs(grid.affine.a) / 3
    )
    corners = Grid(grid.crs, _transform_of(inner), 1, 1).footprint_wgs84().bounds
    return ",".join(f"{value:.7f}" for value in corners)


def _transform_of(polygon: Any) -> tuple[float, float, float, float, float, float]:
    left, bottom, right, top = polygon.bounds
    return right - left, 0.0, left, 0.0, bottom - top, top


def part_of(forged: ForgedScene) -> NDArray[np.uint8]:
    return forged.truth[WINDOW.slices]


def read_vector(path: Path) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]]]:
    meta, _, wkb, columns = pyogrio.raw.read(path, layer="glacier_outlines")
    return shapely.from_wkb(wkb), dict(zip(meta["fields"], columns, strict=True))


def test_a_map_of_a_view_has_the_pixels_of_its_window(asking: Asking, forged: ForgedScene) -> None:
    bbox = box_within(forged.grid, WINDOW)
    with rasterio.open(io.BytesIO(asking.file("tif", bbox))) as dataset:
        np.testing.assert_array_equal(dataset.read(1), part_of(forged))
        assert (dataset.crs, dataset.nodata) == ("EPSG:32645", 255)
        assert dataset.transform == forged.grid.window_transform(WINDOW)
        assert dataset.descriptions == ("0 background, 1 clean ice, 2 debris-covered ice, 255 masked/unknown",)
        assert dataset.colormap(1)[1] == (0x38, 0xBD, 0xF8, 255)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(io.BytesIO(asking.file("confidence.tif", bbox))) as dataset:
        assert (dataset.read(1)[0, 0], dataset.scales) == (80, (0.01,))


@pytest.mark.parametrize("bbox", ["-180,-85,180,85", "-180,-90,180,90", "80,20,-90,40"])
def test_a_box_that_holds_the_whole_scene_gives_the_whole_file(asking: Asking, forged: ForgedScene, bbox: str) -> None:
    with rasterio.open(io.BytesIO(asking.file("tif", bbox))) as dataset:
        np.testing.assert_array_equal(dataset.read(1), forged.truth)


def test_the_window_in_a_box_is_found_whatever_else_the_box_holds(
    asking: Asking, forged: ForgedScene, client: FlaskClient, catalog: Catalog
) -> None:
    def window_in(box: str) -> Any:
        query = dict(zip(("west", "south", "east", "north"), box.split(","), strict=True))
        address = f"/api/v1/scenes/{asking.scene.id}/window"
        return client.get(address, headers=as_role(catalog, "reader"), query_string=query)

    names = ("row_off", "col_off", "height", "width")
    part, whole = window_in(box_within(forged.grid, WINDOW)), window_in("-180,-85,180,85")
    assert [part.json[name] for name in names] == [15, 25, 60, 60]
    assert [whole.json[name] for name in names] == [0, 0, forged.grid.height, forged.grid.width]
    assert_problem(window_in("-180,-85,80,85"), 422, "a box beside scene 'khumbu'")


def test_the_file_says_what_it_is(asking: Asking, forged: ForgedScene) -> None:
    found = asking.answer("gpkg", "86.78,28.08,86.8,28.1")
    assert found.content_type == "application/geopackage+sqlite3"
    assert 'filename="khumbu-v1-86.7800_28.0800_86.8000_28.1000.gpkg"' in found.headers["Content-Disposition"]
    assert found.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize("suffix", ["gpkg", "shp.zip"])
def test_outlines_of_a_view_are_cut_at_its_edge_with_holes(
    asking: Asking, forged: ForgedScene, tmp_path: Path, suffix: str
) -> None:
    content = asking.file(suffix, box_within(forged.grid, WINDOW))
    path = tmp_path / "view.gpkg"
    if suffix == "gpkg":
        path.write_bytes(content)
    else:
        with ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(tmp_path)
            assert "glacier_outlines.qml" in archive.namelist()
        path = tmp_path / "glacier_outlines.shp"
    polygons, fields = read_vector(path)
    assert pyogrio.read_info(path, layer="glacier_outlines")["crs"] == "EPSG:32645"
    assert shapely.is_valid(polygons).all()
    ground = forged.grid.footprint(WINDOW)
    assert all(ground.covers(polygon) for polygon in polygons)
    drawn = np.zeros(WINDOW.shape, np.uint8)
    values = {"clean ice": 1, "debris-covered ice": 2}
    shapes = [(polygon, values[name]) for polygon, name in zip(polygons, fields["class"], strict=True)]
    rasterio.features.rasterize(shapes, out=drawn, transform=forged.grid.window_transform(WINDOW))
    np.testing.assert_array_equal(drawn, np.where(part_of(forged) == 255, 0, part_of(forged)))
    assert 0 < fields["part"].min() < 1


def test_a_geojson_of_a_view_lies_where_the_view_does(asking: Asking, forged: ForgedScene) -> None:
    features = json.loads(asking.file("geojson", box_within(forged.grid, WINDOW)))["features"]
    ground = forged.grid.footprint_wgs84(WINDOW).buffer(1e-6)
    shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    assert all(ground.contains(shape) for shape in shapes)
    assert any(len(part.interiors) for shape in shapes for part in shapely.get_parts(shape))
    assert {feature["properties"]["class"] for feature in features} == {"clean ice", "debris-covered ice"}


def test_qgis_finds_the_colours_of_the_classes(asking: Asking, forged: ForgedScene, tmp_path: Path) -> None:
    path = tmp_path / "view.gpkg"
    path.write_bytes(asking.file("gpkg", box_within(forged.grid, WINDOW)))
    with sqlite3.connect(path) as database:
        (layer, column, style, default) = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchone()
    assert (layer, column, default) == ("glacier_outlines", "geom", 1)
    assert 'value="debris-covered ice"' in style and 'value="249,115,22,255"' in style
    assert [name for name, _ in pyogrio.list_layers(path)] == ["glacier_outlines", "layer_styles"]


def test_areas_of_a_view_are_those_of_the_parts_in_it(asking: Asking, forged: ForgedScene) -> None:
    """By hand: an outline of which a share s lies in the view has s of the estimate, and sqrt(s) of the distances."""
    bbox = box_within(forged.grid, WINDOW)
    report = json.loads(asking.file("areas.json", bbox))
    features = json.loads(asking.file("geojson", bbox))["features"]
    for total in report["totals"][:2]:
        value = {"clean ice": 1, "debris-covered ice": 2}[total["name"]]
        mapped = (part_of(forged) == value).sum() * 900 / 1e6
        assert total["mapped_km2"] == pytest.approx(mapped, rel=1e-3)
        own = [item["properties"] for item in features if item["properties"]["class"] == total["name"]]
        assert total["outlines"] == len(own)
        best, low, _ = RATIOS[total["name"]]
        # whole = area / share: the distance of the whole, times sqrt(share), is area / sqrt(share) times the ratio.
        expected = [item["area_km2"] * best - (best - low) * item["area_km2"] / item["part"] ** 0.5 for item in own]
        assert total["area_km2"] == pytest.approx(mapped * best, rel=1e-3)
        assert total["low_km2"] == pytest.approx(sum(max(low, 0) for low in expected), rel=1e-3)
    together = report["totals"][2]
    assert together["mapped_km2"] == pytest.approx(sum(item["mapped_km2"] for item in report["totals"][:2]))
    assert together["low_km2"] == pytest.approx(sum(item["low_km2"] for item in report["totals"][:2]))
    assert report["glaciers"] == []


def test_a_view_of_the_whole_scene_gives_the_whole_file(asking: Asking) -> None:
    assert asking.answer("gpkg", "86,27,88,29").data == asking.answer("gpkg").data


def test_a_view_without_ice_holds_no_outline(asking: Asking, forged: ForgedScene) -> None:
    empty = Window(0, 0, 5, 5)
    assert not (forged.truth[empty.slices] % 255).any()
    bbox = box_within(forged.grid, empty)
    assert json.loads(asking.file("geojson", bbox)) == {"type": "FeatureCollection", "features": []}
    assert {item["area_km2"] for item in json.loads(asking.file("areas.json", bbox))["totals"]} == {0}


@pytest.mark.parametrize(
    ("bbox", "says"),
    [
        ("10,10,11,11", "shows nothing of the scene"),
        ("86.8,28.09,86.8,28.1", "with an extent"),
        ("86.8,28.1,86.9,28.0", "south of north"),
        ("186.8,28.0,186.9,28.1", "in degrees"),
        ("86.8,28.0,86.9", "bbox"),
        ("a,b,c,d", "bbox"),
    ],
)
def test_a_box_that_makes_no_sense_is_refused(asking: Asking, bbox: str, says: str) -> None:
    refused = asking.answer("gpkg", bbox)
    assert_problem(refused, 422)
    assert says in refused.text


def test_a_view_of_too_many_pixels_is_refused_before_it_is_read(
    client: FlaskClient, catalog: Catalog, scene: Scene, forged: ForgedScene
) -> None:
    large = Grid(forged.grid.crs, forged.grid.transform, 10_000, 10_000)
    with catalog.write() as session:
        session.get_one(Scene, scene.id).source = SceneSource(forged.bands, large, (0, 0)).to_json()
    bbox = box_within(large, Window(0, 0, 4097, 4097))
    found = Asking(client, catalog, scene).answer("tif", bbox)
    assert_problem(found, 422, f"expected at most {MOST_PIXELS} pixels")
