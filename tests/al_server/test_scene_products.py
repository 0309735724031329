"""Products as downloaded, by HTTP: described with `dry_run`, and registered."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from catalog.context import Catalog
from catalog.records import Scene
from imagery.scene_source import SceneSource
from imagery.units import REFLECTANCE, Level
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role, pushed
from tests.imagery.forge import write_geotiff
from tests.imagery.product_forge import L2SP, SIX, landsat_level_1, landsat_level_2, write
from tests.imagery.product_forge import stored as stored_numbers

Post = Callable[..., TestResponse]


@pytest.fixture
def root(catalog: Catalog) -> Path:
    """The scene root, with a Landsat Level-2 folder of 96 x 96 pixels: 8 columns of fill, and a cloud."""
    landsat_level_2(catalog.settings.scene_root / "l2")
    return catalog.settings.scene_root


@pytest.fixture
def post(client: FlaskClient, catalog: Catalog, root: Path) -> Post:
    """Post the Landsat folder as a scene of the pool, with changes."""

    def send(**changes: Any) -> TestResponse:
        body = {"role": "pool", "path": "l2", **changes}
        return client.post("/api/v1/scenes", json=body, headers=as_role(catalog, "operator"))

    return send


def count(catalog: Catalog) -> int:
    with catalog.read() as session:
        return session.scalar(select(func.count(Scene.id))) or 0


def stored(catalog: Catalog) -> SceneSource:
    with catalog.read() as session:
        return SceneSource.from_json(session.scalars(select(Scene).order_by(Scene.id.desc())).first().source)


def test_a_dry_run_says_what_was_understood_and_stores_nothing(post: Post, catalog: Catalog, root: Path) -> None:
    response = post(dry_run=True)
    assert response.status_code == 200, response.text
    found = response.json
    assert (found["name"], found["product_id"]) == (L2SP.lower().replace("_", "-"), L2SP)
    assert (found["sensor"], found["level"], found["acquired"][:10]) == ("landsat-8-oli", "surface", "2018-10-26")
    red = next(band for band in found["bands"] if band["name"] == "red")
    assert red == {
        **{"name": "red", "unit": "reflectance", "scale": 2.75e-5, "offset": -0.2, "nodata": 0},
        **{"file": f"l2/{L2SP}_SR_B4.TIF", "index": 1, "resampled": False},
    }
    (quality,) = found["quality"]
    assert set(quality["masked"]) == {"fill", "cloud", "cloud shadow", "cirrus"}
    # 8 of 96 columns are fill; 20 x 20 of the 96 x 88 pixels with data are cloud.
    assert found["pixels"]["no_data"] == pytest.approx(8 / 96, abs=1e-3)
    assert found["cloud_share"] == pytest.approx(400 / (96 * 88), abs=1e-3)
    assert any("AEROSOL" in item["file"] for item in found["left_out"])
    assert str(root) not in response.text
    assert count(catalog) == 0
    assert pushed(catalog) == []


def test_a_product_is_registered_as_it_was_shown(post: Post, catalog: Catalog) -> None:
    shown = post(dry_run=True).json
    response = post()
    assert response.status_code == 202, response.text
    scene = response.json["scene"]
    assert (scene["name"], scene["level"], scene["acquired"]) == (shown["name"], "surface", shown["acquired"])
    assert scene["units"]["red"] == "reflectance"
    assert (scene["product"]["kind"], scene["product"]["cloud_share"]) == (shown["kind"], shown["cloud_share"])
    source = stored(catalog)
    assert source.level is Level.SURFACE
    assert {band.unit for band in source.bands} == {REFLECTANCE}


def test_levels_and_units_are_not_mixed(post: Post, catalog: Catalog, root: Path) -> None:
    landsat_level_1(root / "l1")
    assert post(name="first").status_code == 202
    assert_problem(post(path="l1"), 422, "level 'top of atmosphere'", "'first' is of 'surface'", "allow_mixed_levels")
    assert_problem(post(path="l1", unit="digital number"), 422, "expected reflectance in", "'first'")
    response = post(path="l1", allow_mixed_levels=True)
    assert response.status_code == 202, response.text
    assert any("differ by haze" in note for note in response.json["scene"]["product"]["notes"])


def test_numbers_are_kept_as_stored_if_asked(post: Post, catalog: Catalog) -> None:
    assert post(unit="digital number").status_code == 202
    source = stored(catalog)
    assert {(band.unit, band.scale, band.offset) for band in source.bands} == {("digital number", 1, 0)}
    assert source.level is None


def test_flags_are_no_channels(post: Post, catalog: Catalog) -> None:
    assert "quality" not in post(dry_run=True).json["channels"]
    catalog.settings = catalog.settings.model_copy(update={"channels": ("red", "quality")})
    assert_problem(post(), 422, "found the channel 'quality'; expected one of ")
    assert count(catalog) == 0


def test_which_flags_mask_is_a_choice_but_never_snow(post: Post, catalog: Catalog) -> None:
    assert_problem(post(masked=["snow"]), 422, "found 'snow' among the flags to mask")
    assert post(masked=["cloud"]).status_code == 202
    assert stored(catalog).quality[0].masked == ("cloud",)


def test_channels_and_tiles_of_elevation_are_added_with_what_is_said_of_them(
    post: Post, catalog: Catalog, root: Path
) -> None:
    place = {"transform": (30.0, 0.0, 470085.0, 0.0, -30.0, 3110415.0), "crs": "EPSG:32645"}
    write_geotiff(root / "coherence.tif", np.linspace(-1, 1, 96 * 96, dtype=np.float32).reshape(1, 96, 96), **place)
    west, east = (np.full((1, 96, 48), feet, np.int16) for feet in (16000, 17000))
    write_geotiff(root / "west.tif", west, **place)
    write_geotiff(root / "east.tif", east, **place | {"transform": (30.0, 0.0, 471525.0, 0.0, -30.0, 3110415.0)})
    channel = {"name": "coherence", "path": "coherence.tif", "nodata": -1, "unit": "1"}
    half = post(dem=[{"path": "west.tif", "unit": "ft"}], dry_run=True)
    assert_problem(half, 422, "found elevation for", "expected at least 99 %")
    partial = post(dem={"path": "west.tif", "unit": "ft"}, allow_partial_dem=True, dry_run=True)
    assert 0.4 < partial.json["elevation"]["coverage"] < 0.6
    response = post(channels=[channel], dem=[{"path": f"{side}.tif", "unit": "ft"} for side in ("west", "east")])
    assert response.status_code == 202, response.text
    source = stored(catalog)
    coherence = next(extra for extra in source.extras if extra.name == "coherence")
    assert (coherence.nodata, coherence.unit) == (-1, "1")
    assert source.dem is not None
    assert [(tile.scale, tile.unit) for tile in source.dem.tiles] == [(pytest.approx(0.3048), "m")] * 2
    assert {"coherence", "elevation", "slope"} <= set(response.json["scene"]["channels"])


def test_the_class_of_outlines_is_recognised_shown_and_mapped(post: Post, catalog: Catalog, root: Path) -> None:
    import pyogrio
    import shapely

    boxes = [shapely.box(470385 + east, 3110115 - 600, 470685 + east, 3110115) for east in (0, 600)]
    pyogrio.raw.write(
        str(root / "outlines.gpkg"),
        np.array([box.wkb for box in boxes], object),
        field_data=[np.array(["Clean Ice", "Debris covered"], object)],
        fields=["Glaciers"],
        geometry_type="Polygon",
        crs="EPSG:32645",
    )
    asked = {"role": "validation", "dry_run": True}
    found = post(**asked, outlines=[{"path": "outlines.gpkg"}]).json
    # Each box is 10 x 20 pixels of 30 m: 0.18 km2 on the map, 0.08 % more on the ground.
    assert [(item["class"], item["polygons"], item["pixels"]) for item in found["classes"]] == [
        ("clean ice", 1, 200),
        ("debris-covered ice", 1, 200),
    ]
    assert [item["class_values"] for item in found["outlines"]] == [["Clean Ice"], ["Debris covered"]]
    assert any("field 'Glaciers' tells classes" in note for note in found["notes"])
    mapped = {"class_field": "Glaciers", "classes": {"Clean Ice": "debris-covered ice"}}
    (only,) = post(**asked, outlines=[{"path": "outlines.gpkg", **mapped}]).json["classes"]
    assert (only["class"], only["pixels"]) == ("debris-covered ice", 200)
    whole = post(**asked, outlines=[{"path": "outlines.gpkg", "class": "clean ice"}])
    assert_problem(whole, 422, "features are of several classes", "--class-field")
    assert_problem(
        post(**asked, outlines=[{"path": "outlines.gpkg", "class_field": "Glaciers"}]),
        422,
        "a class for each of its values",
    )


def test_a_product_may_not_lead_out_of_the_scene_root(post: Post, root: Path, catalog: Catalog) -> None:
    member = root / "l2" / f"{L2SP}_SR_B4.TIF"
    shutil.move(member, root.parent / "b4.tif")
    member.symlink_to(root.parent / "b4.tif")
    assert_problem(post(), 422, f"found the link 'l2/{L2SP}_SR_B4.TIF'", "leads out of the scene root")
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "geometry": None, "links": [], "bbox": None}
    item |= {"properties": {"datetime": "2018-10-26T00:00:00Z", "platform": "landsat-8"}}
    for href in ("../b4.tif", "http://127.0.0.1:1/b4.tif", f"file://{root.parent}/b4.tif"):
        item["assets"] = {"red": {"href": href, "type": "image/tiff; application=geotiff"}}
        (root / "item.json").write_text(json.dumps(item))
        assert_problem(post(path="item.json"), 422, "found")
    assert_problem(post(path="http://127.0.0.1:1/item.json"), 422, "found the host '127.0.0.1:1'")
    assert count(catalog) == 0


def test_what_needs_a_person_is_refused_with_advice(post: Post, root: Path) -> None:
    assert_problem(post(sensor="sputnik"), 422, "unknown sensor 'sputnik'")
    assert_problem(post(sensor="landsat-7-etm+"), 422, "landsat-8-oli")
    assert_problem(post(level="top of atmosphere"), 422, "surface")
    bands = [{"name": "B4", "path": f"l2/{L2SP}_SR_B4.TIF"}]
    assert_problem(post(path=None, name="one", bands=bands), 422, "expected to be told", "--sensor")
    assert_problem(post(path=None, name="one", bands=[{**bands[0], "name": "rad"}]), 422, "found the band 'rad'")
    (root / "empty").mkdir()
    assert_problem(post(path="empty"), 422, "found no files")


def test_pixels_of_another_size_are_said_and_missing_channels_explained(post: Post, root: Path) -> None:
    assert post(name="first").status_code == 202
    bands = np.stack([stored_numbers(name, 1e-4, 0.0) for name in SIX])
    write(root / "S2_L2A_2018.tif", bands, size=10, descriptions=["B2", "B3", "B4", "B8", "B11", "B12"])
    response = post(path="S2_L2A_2018.tif", dry_run=True)
    assert response.status_code == 200, response.text
    (note,) = [note for note in response.json["notes"] if "pixels are of" in note]
    assert note.startswith("its pixels are of 10 m, those of the scene 'first' of 30 m")
    write(root / "S2_L2A_2019.tif", bands[:4], size=30, descriptions=["B2", "B3", "B4", "B8"])
    problem = post(path="S2_L2A_2019.tif", dry_run=True)
    assert_problem(problem, 422, "found the channel 'swir1'", "first scene of the pool, 'first'", "GLACIER_AL_CHANNELS")
