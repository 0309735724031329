import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import rasterio
from flask.testing import FlaskClient
from shapely.geometry import shape
from sqlalchemy import event, func, select
from werkzeug.test import TestResponse

from catalog import jobs, registry_copy
from catalog.bundle_cache import CARD, FILES, checksum_tag
from catalog.context import Catalog
from catalog.records import (
    JobKind,
    JobState,
    Scene,
    SceneRole,
    SceneState,
    now,
)
from catalog.registry import CHAMPION, ModelVersion, registry_of
from imagery.channels import TERRAIN_UNITS
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from services.registry_watch import RegistryWatcher
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, add_scoring, as_role, pushed
from tests.imagery.forge import NORTH_UP, ForgedScene, forge_scene, write_geotiff

SCENES = "/api/v1/scenes"
Register = Callable[..., TestResponse]


@pytest.fixture
def forged(catalog: Catalog) -> ForgedScene:
    """A scene of 100 x 160 pixels with outlines, below the scene root."""
    catalog.settings.scene_root.mkdir()
    return forge_scene(catalog.settings.scene_root / "scene.tif")


@pytest.fixture
def register(client: FlaskClient, catalog: Catalog, forged: ForgedScene) -> Register:
    """Post a scene: the forged one, with changes."""

    def post(**changes: Any) -> TestResponse:
        body = {"name": "khumbu", "role": "pool", "path": forged.path.name, **changes}
        given = {name: value for name, value in body.items() if value is not None}
        return client.post(SCENES, json=given, headers=as_role(catalog, "operator"))

    return post


def outlines(class_name: str = "clean ice", layer: str = "clean_ice") -> list[dict[str, str]]:
    return [{"path": "scene_outlines.gpkg", "layer": layer, "class": class_name}]


def count_scenes(catalog: Catalog) -> int:
    with catalog.read() as session:
        return session.scalar(select(func.count(Scene.id))) or 0


def test_registering_stores_the_scene_and_a_job_and_says_where(
    register: Register, client: FlaskClient, catalog: Catalog
) -> None:
    response = register(outlines=outlines(), role="validation")
    assert response.status_code == 202
    scene, job = response.json["scene"], response.json["job"]
    assert (scene["name"], scene["role"], scene["state"]) == ("khumbu", "validation", "registered")
    assert (scene["height"], scene["width"], scene["crs"]) == (100, 160, "EPSG:32645")
    assert scene["bands"] == ["red", "green", "blue", "nir"]
    assert scene["has_outlines"] is True
    assert (job["kind"], job["subject"], job["state"]) == ("tile_scene", {"scene_id": scene["id"]}, "queued")
    assert pushed(catalog) == [f"{job['id']}-0"]
    again = client.get(response.headers["Location"], headers=as_role(catalog, "reader"))
    assert again.json == scene


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2000-10-30", "2000-10-30"),
        ("2000-10-30T04:41:00Z", "2000-10-30T04:41:00Z"),
        ("2000-10-30T03:00:00+05:45", "2000-10-29T21:15:00Z"),
        (None, None),
    ],
)
def test_when_a_scene_was_acquired_is_kept_as_a_day_or_as_a_moment_in_utc(
    register: Register, given: str | None, kept: str | None
) -> None:
    response = register(acquired=given)
    assert response.status_code == 202, response.text
    assert response.json["scene"]["acquired"] == kept


@pytest.mark.parametrize(
    "given",
    ["2000-10-30T00:00:00", "30.10.2000", "2000-02-30", "2000", "", 20001030, 972880860, "0001-01-01T00:00:00+14:00"],
)
def test_a_moment_without_a_zone_or_no_date_at_all_is_refused(register: Register, given: Any) -> None:
    assert_problem(
        register(acquired=given), 422, "acquired", "expected a day (2000-10-30) or a moment with its time zone"
    )


@pytest.mark.parametrize("given", ["1848-12-31", "2999-01-01", "2999-01-01T00:00:00Z", "0001-01-01", "9999-12-31"])
def test_a_day_on_which_no_image_was_taken_is_refused(register: Register, given: str) -> None:
    assert_problem(register(acquired=given), 422, "acquired", "expected a day from 1849-01-01 to today (UTC)")


def test_bands_may_lie_in_several_files_and_a_part_of_them_be_the_scene(
    register: Register, catalog: Catalog, forged: ForgedScene
) -> None:
    bands = [{"name": name, "path": "scene.tif", "index": index} for index, name in ((4, "nir"), (1, "red"))]
    region = {"row_off": 10, "col_off": 20, "height": 64, "width": 96}
    response = register(path=None, bands=bands, region=region, nodata=0, patch_size_px=48, patch_overlap_px=8)
    assert response.status_code == 202, response.text
    with catalog.read() as session:
        scene = session.query(Scene).one()
    source = SceneSource.from_json(scene.source)
    assert source.band_names == ("nir", "red")
    assert (source.offset, source.grid.height, source.grid.width) == ((10, 20), 64, 96)
    assert [band.nodata for band in source.bands] == [0, 0]
    assert (scene.patch_size_px, scene.patch_overlap_px) == (48, 8)
    assert shape(scene.footprint).equals_exact(source.grid.footprint_wgs84(), 1e-9)


@pytest.mark.parametrize("path", ["../secret.tif", "/etc/passwd", "a/../../secret.tif", "link.tif", "missing.tif", "."])
def test_no_file_outside_the_scene_root_is_reached(register: Register, catalog: Catalog, path: str) -> None:
    root = catalog.settings.scene_root
    forge_scene(root.parent / "secret.tif")
    (root / "a").mkdir()
    (root / "link.tif").symlink_to(root.parent / "secret.tif")
    for changes in ({"path": path}, {"path": None, "bands": [{"name": "red", "path": path}]}):
        assert_problem(register(**changes), 422, "found no file", "below the scene root")
    named = [{"path": path, "class": "clean ice"}]
    assert_problem(register(outlines=named), 422, "found no file", "below the scene root")
    assert count_scenes(catalog) == 0


def test_a_name_too_long_for_the_file_system_is_a_missing_file(register: Register) -> None:
    assert_problem(register(path="a" * 300), 422, "found no file")


def test_a_scene_root_that_is_a_link_is_followed(register: Register, catalog: Catalog, tmp_path: Path) -> None:
    root = catalog.settings.scene_root
    root.rename(tmp_path / "disk")
    root.symlink_to(tmp_path / "disk")
    assert register().status_code == 202


def write_bad(root: Path) -> None:
    pixels = np.full((1, 40, 40), 7, dtype=np.uint8)
    write_geotiff(root / "no-crs.tif", pixels, crs=None, descriptions=["red"])
    write_geotiff(root / "small.tif", pixels[:, :20], descriptions=["red"])
    write_geotiff(root / "unnamed.tif", np.repeat(pixels, 3, axis=0))
    (root / "text.tif").write_text("not a raster")
    (root / "cut.tif").write_bytes((root / "small.tif").read_bytes()[:60])
    (root / "virtual.vrt").write_text(
        '<VRTDataset rasterXSize="40" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        "<SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"path": "text.tif"}, ["text.tif", "GeoTIFF"]),
        ({"path": "cut.tif"}, ["cut.tif"]),
        ({"path": "virtual.vrt"}, ["virtual.vrt: found the source '/etc/passwd', which lies outside the scene root"]),
        ({"path": "no-crs.tif"}, ["no-crs.tif", "no coordinate reference system"]),
        ({"path": "small.tif"}, ["20", "32"]),
        ({"path": "unnamed.tif"}, ["3 bands without distinct descriptions"]),
        ({"sensor": "sputnik"}, ["sputnik"]),
        ({"path": None, "bands": [{"name": "red", "path": "scene.tif", "index": 9}]}, ["9"]),
        ({"path": None}, ["either 'path'", "or 'bands'"]),
        ({"bands": [{"name": "red", "path": "scene.tif"}]}, ["either 'path'", "or 'bands'"]),
        ({"region": {"row_off": 90, "col_off": 0, "height": 64, "width": 64}}, ["100"]),
        ({"outlines": outlines("snow")}, ["unknown class 'snow'", "'debris-covered ice'"]),
        ({"role": "validation"}, ["'validation' judges models", "expected outlines"]),
        ({"role": "test"}, ["'test' judges models"]),
        ({"patch_overlap_px": 32}, ["32"]),
        ({"patch_size_px": 101}, ["101"]),
    ],
)
def test_what_makes_no_scene_is_refused_and_leaves_no_row(
    register: Register, catalog: Catalog, changes: dict[str, Any], fragments: list[str]
) -> None:
    write_bad(catalog.settings.scene_root)
    assert_problem(register(**changes), 422, *fragments)
    assert count_scenes(catalog) == 0
    assert pushed(catalog) == []


def test_a_name_is_given_once(register: Register, catalog: Catalog) -> None:
    assert register().status_code == 202
    assert_problem(register(), 409, "'khumbu' is registered already")
    assert count_scenes(catalog) == 1


def test_ground_that_judges_is_never_learnt_from(register: Register, catalog: Catalog) -> None:
    assert register(region={"row_off": 0, "col_off": 0, "height": 100, "width": 80}).status_code == 202
    judging = {"name": "east", "role": "test", "outlines": outlines()}
    overlapping = {"row_off": 0, "col_off": 79, "height": 100, "width": 81}
    assert_problem(register(**judging, region=overlapping), 409, "shares ground with 'khumbu'", "'pool'")
    assert register(**judging, region={**overlapping, "col_off": 80, "width": 80}).status_code == 202
    assert count_scenes(catalog) == 2


def test_the_ground_of_a_rejected_scene_is_free(register: Register, catalog: Catalog) -> None:
    register()
    with catalog.database.write() as session:
        session.query(Scene).one().state = SceneState.REJECTED
    assert register(name="again", role="test", outlines=outlines()).status_code == 202


def test_pool_scenes_have_one_patch_size(register: Register) -> None:
    west, east = ({"row_off": 0, "col_off": col, "height": 100, "width": 80} for col in (0, 80))
    assert register(region=west).status_code == 202
    message = "patches of the pool are 32 px (scene 'khumbu'), found 48 px"
    assert_problem(register(name="east", region=east, patch_size_px=48), 409, message)
    assert register(name="east", region=east).status_code == 202


def test_scenes_are_listed_in_order(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session, "a")
        add_scene(session, "b", SceneRole.TEST, offset_px=200)
    listed = client.get(SCENES, headers=as_role(catalog, "reader")).json
    found = [(item["name"], item["role"], item["patches"]) for item in listed]
    assert found == [("a", "pool", 20), ("b", "test", 20)]


def test_patches_are_geojson_in_the_right_place_with_scores_and_their_origin(
    client: FlaskClient, catalog: Catalog
) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        add_scoring(session, 3, {patches[1].id: 0.25})
    response = client.get(f"{SCENES}/{scene.id}/patches", headers=as_role(catalog, "reader"))
    assert response.content_type == "application/geo+json"
    collection = response.get_json(force=True)
    assert collection["type"] == "FeatureCollection"
    assert [feature["id"] for feature in collection["features"]] == [patch.id for patch in patches]
    grid = SceneSource.from_json(scene.source).grid
    scored = collection["features"][1]
    assert scored["properties"]["scores"] == {
        "origin": {"model_version": 3, "passes": 20, "seed": 0, "survey": False},
        "entropy_top10": 0.25,
    }
    assert collection["features"][0]["properties"]["scores"] is None
    assert (scored["properties"]["row_off"], scored["properties"]["col_off"]) == (0, 32)
    # 32 columns of 30 m east of the scene's corner at 478000 m; 27.9 to 28.1 degrees north, 86.7 to 86.9 east.
    west, south, east, north = shape(scored["geometry"]).bounds
    assert 86.7 < west < east < 86.9
    assert 27.9 < south < north < 28.2
    transform = rasterio.Affine(*NORTH_UP)
    corner = transform @ (48, 16)
    from pyproj import Transformer

    x, y = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*corner)
    centre = shape(scored["geometry"]).centroid
    assert (centre.x, centre.y) == pytest.approx((x, y), abs=1e-5)


def test_patches_come_page_by_page(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
    address, found = f"{SCENES}/{scene.id}/patches?limit=8", []
    while address:
        page = client.get(address, headers=as_role(catalog, "reader")).get_json(force=True)
        found += [feature["id"] for feature in page["features"]]
        address = page["next"]
    assert found == [patch.id for patch in patches]


def test_a_page_is_found_by_an_index_however_deep_it_lies(client: FlaskClient, catalog: Catalog) -> None:
    if not catalog.database.is_sqlite:
        pytest.skip("the plan is one of SQLite; for ten rows PostgreSQL takes no index")
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
    asked: list[tuple[str, Any]] = []
    event.listen(catalog.database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    client.get(f"{SCENES}/{scene.id}/patches?after={patches[9].id}&limit=5", headers=as_role(catalog, "reader"))
    (page,) = [query for query in asked if "FROM patches" in query[0]]
    with catalog.database.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {page[0]}", page[1])]
    assert plan == ["SEARCH patches USING INDEX ix_patches_of_scene (scene_id=? AND id>?)"]


def test_a_prediction_of_a_scene_that_is_not_ready_is_refused(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session, state=SceneState.REGISTERED)
    response = client.get(f"{SCENES}/{scene.id}/prediction.tif", headers=as_role(catalog, "reader"))
    assert_problem(response, 409, "is registered; wait until it is ready")


def test_a_prediction_needs_a_champion(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
    response = client.get(f"{SCENES}/{scene.id}/prediction.tif", headers=as_role(catalog, "reader"))
    assert_problem(response, 409, "no model version has been promoted yet", "label a round")
    assert pushed(catalog) == []


def test_a_scene_without_the_channels_of_the_pool_is_refused(register: Register, catalog: Catalog) -> None:
    assert register(region={"row_off": 0, "col_off": 0, "height": 64, "width": 64}, patch_size_px=32).status_code == 202
    narrow = {"name": "narrow", "role": "validation", "outlines": outlines(), "patch_size_px": 32}
    bands = [{"name": "red", "path": "scene.tif", "index": 1}]
    region = {"row_off": 0, "col_off": 80, "height": 64, "width": 64}
    assert_problem(register(**narrow, path=None, bands=bands, region=region), 422, "green")
    assert count_scenes(catalog) == 1


def test_a_dem_and_a_border_are_kept_with_the_scene_and_widen_its_channels(
    register: Register, catalog: Catalog, forged: ForgedScene
) -> None:
    root = catalog.settings.scene_root
    coarse = (90.0, 0.0, NORTH_UP[2], 0.0, -90.0, NORTH_UP[5])
    dem = write_geotiff(root / "dem.tif", np.full((40, 60), 5000, dtype=np.int16), transform=coarse)
    border = {"path": "scene_outlines.gpkg", "layer": "clean_ice"}
    response = register(dem={"path": "dem.tif"}, border=border)
    assert response.status_code == 202, response.text
    assert response.json["scene"]["bands"] == ["red", "green", "blue", "nir"]
    channels = ["red", "green", "blue", "nir", "elevation", "ndvi", "ndwi", *TERRAIN_UNITS]
    assert response.json["scene"]["channels"] == channels
    with catalog.read() as session:
        source = SceneSource.from_json(session.query(Scene).one().source)
    assert source.border is not None
    assert source.dem == ElevationSource((BandSource("elevation", str(dem), 1, unit="m"),))
    assert source.border.layer == "clean_ice"
    assert [item.grid.transform for item in source.resampled] == [coarse]


def test_a_channel_set_in_the_settings_is_asked_of_every_scene(register: Register, catalog: Catalog) -> None:
    catalog.settings = catalog.settings.model_copy(update={"channels": ["he"]})
    assert_problem(register(), 422, "found the channel 'swir1'")
    blue_first = [{"name": name, "path": "scene.tif", "index": i} for i, name in enumerate(("blue", "nir", "swir1"), 1)]
    assert register(path=None, bands=blue_first).status_code == 202


def test_a_papers_architecture_asks_every_scene_for_its_channels_unless_others_are_chosen(
    register: Register, catalog: Catalog
) -> None:
    catalog.settings = catalog.settings.model_copy(update={"architecture": "aryal"})
    found = "found no swir1, thermal_low, thermal_high, swir2 in the scene"
    assert_problem(
        register(), 422, found, "architecture 'aryal'", "GLACIER_AL_CHANNELS", '["red", "green", "blue", "nir"]'
    )
    catalog.settings = catalog.settings.model_copy(update={"channels": ["red", "nir"]})
    assert register().status_code == 202


def band(name: str, index: int) -> dict[str, Any]:
    return {"name": name, "path": "scene.tif", "index": index}


def serve_version_3(catalog: Catalog, card: bytes = b"") -> None:
    """Have the copy of the registry say that version 3, which has this card, is served."""
    tags = {checksum_tag(CARD): hashlib.sha256(card).hexdigest()}
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(3, "run-3", now(), tags)])
        registry_copy.set_aliases(session, {CHAMPION: 3})


def serve_with_card(catalog: Catalog, channels: list[str]) -> None:
    """Serve version 3, whose card is on this machine, as whoever has used the version leaves it."""
    card = json.dumps({"channels": channels}).encode()
    serve_version_3(catalog, card)
    folder = catalog.settings.var_dir / "cache" / "models" / "3-run-3"
    folder.mkdir(parents=True)
    (folder / CARD).write_bytes(card)


@pytest.mark.slow
def test_a_scene_is_asked_for_the_champions_channels_whatever_the_settings_say_by_now(
    register: Register, catalog: Catalog, mlflow_server: str, tmp_path: Path
) -> None:
    """The network of `tests.models.networks` is fed red and nir; that of the settings would be fed eight bands."""
    from catalog.tracking import Tracking
    from models.bundle import write_bundle
    from tests.models.cards import origin
    from tests.models.networks import small_segmenter

    changes = {"architecture": "aryal", "mlflow_url": mlflow_server, "registered_model": f"model-{uuid4().hex}"}
    settings = catalog.settings = catalog.settings.model_copy(update=changes)
    assert_problem(register(), 422, "architecture 'aryal'")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_bundle(bundle, small_segmenter(), origin())
    tracking = Tracking(settings.mlflow_url, "tests", settings.registered_model)
    tags = {checksum_tag(name): hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}
    run_id = tracking.start_run("fine-tune", {}, {})
    version = tracking.register(run_id, bundle, tags, "for a test")
    tracking.end_run(run_id, "FINISHED")
    registry_of(settings).move_alias(CHAMPION, version)
    RegistryWatcher(catalog).look()

    fault = f"found no nir in the scene; expected the channels of the champion, version {version}: red, nir"
    assert_problem(register(path=None, bands=[band("red", 1), band("blue", 3)]), 422, fault)
    assert register().status_code == 202
    other = {"name": "west", "path": None, "bands": [band("red", 1), band("nir", 4)]}
    assert register(**other).status_code == 202, "the pool has more bands than the champion is fed"


def test_while_mlflow_is_down_the_champions_channels_come_from_its_cached_card(
    register: Register, catalog: Catalog
) -> None:
    catalog.settings = catalog.settings.model_copy(update={"architecture": "aryal"})
    serve_with_card(catalog, ["red", "ndwi"])
    assert_problem(register(path=None, bands=[band("red", 1), band("nir", 4)]), 422, "found no ndwi", "version 3")
    assert register(path=None, bands=[band("red", 1), band("green", 2), band("nir", 4)]).status_code == 202


def test_a_champion_whose_card_is_nowhere_holds_no_scene_back(
    register: Register, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.settings = catalog.settings.model_copy(update={"architecture": "aryal"})
    assert_problem(register(), 422, "architecture 'aryal'")
    serve_version_3(catalog)
    assert register().status_code == 202
    assert "unseen by the champion: there is no card of version 3" in caplog.text


def test_a_dem_or_border_outside_the_scene_root_or_misspelt_is_refused(register: Register, catalog: Catalog) -> None:
    forge_scene(catalog.settings.scene_root.parent / "secret.tif")
    for changes in ({"dem": {"path": "../secret.tif"}}, {"border": {"path": "../secret_outlines.gpkg"}}):
        assert_problem(register(**changes), 422, "found no file", "below the scene root")
    assert register(dem={"path": "scene.tif", "band": 1}).status_code == 422
    assert_problem(register(border={"path": "scene_outlines.gpkg"}), 422, "expected one of them to be named")
    assert count_scenes(catalog) == 0


def test_the_name_of_a_rejected_scene_is_free(register: Register, client: FlaskClient, catalog: Catalog) -> None:
    first = register().json["scene"]
    with catalog.database.write() as session:
        jobs.get(session, jobs.last_of(session, JobKind.TILE_SCENE, str(first["id"])).id).state = JobState.FAILED
        session.get_one(Scene, first["id"]).state = SceneState.REJECTED
    second = register()
    assert second.status_code == 202
    listed = client.get(SCENES, headers=as_role(catalog, "reader")).json
    assert [(scene["id"], scene["name"]) for scene in listed] == [(second.json["scene"]["id"], "khumbu")]


def test_a_scene_is_removed_by_an_operator(register: Register, client: FlaskClient, catalog: Catalog) -> None:
    scene = register().json["scene"]
    address = f"{SCENES}/{scene['id']}"
    assert_problem(client.delete(address, headers=as_role(catalog, "annotator")), 403, "needs operator")
    response = client.delete(address, headers=as_role(catalog, "operator"))
    assert (response.status_code, response.json["state"]) == (200, "removed")
    assert_problem(client.get(address, headers=as_role(catalog, "reader")), 404, f"no scene {scene['id']}")
    assert_problem(client.delete(address, headers=as_role(catalog, "operator")), 404, f"no scene {scene['id']}")
    assert register().status_code == 202
