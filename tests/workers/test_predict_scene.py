"""What is delivered of a predicted scene: the map and the outlines, with all that is known of them."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from shapely.geometry import box

from catalog.context import Catalog
from catalog.records import JobKind, Scene
from imagery.classes import UNKNOWN
from imagery.describe_elevation import describe_dem
from imagery.describe_scene import describe
from imagery.errors import OutlineError
from imagery.scene_source import ElevationSource
from services import raster_keys
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.scenes import day_of, source_of
from tests.imagery.forge import NORTH_UP, write_geotiff, write_polygons
from tests.models.cards import CLASSES
from tests.workers.rows import champion, context_of, finish, tiled
from workers.predict_scene import predict_by, predict_scene
from workers.relief import relief_of
from workers.versions import LoadedVersion

SEED = 1  # of an untrained network that finds ice and other ground


@pytest.fixture
def scene(catalog: Catalog, tmp_path: Path) -> Scene:
    return tiled(catalog, tmp_path / "scene.tif", nodata_columns=20)[0]


def change(catalog: Catalog, scene: Scene, **values: Any) -> None:
    with catalog.database.write() as session:
        row = session.get_one(Scene, scene.id)
        for name, value in values.items():
            setattr(row, name, value)


def predict(catalog: Catalog, scene: Scene, version: LoadedVersion | None = None) -> dict[str, bytes]:
    """Predict a scene; return its files by suffix."""
    context = context_of(catalog, JobKind.PREDICT_SCENE, str(scene.id))
    predict_by(context, version or champion(seed=SEED), scene.id, delivery_options(catalog.settings))
    finish(context)
    store = raster_store(catalog)
    return {suffix: store.get(key) for suffix, key in keys_of(catalog, scene).items()}


def keys_of(catalog: Catalog, scene: Scene) -> Mapping[str, str]:
    """The keys of the files that version 1 writes of a scene, as it is now stored and by the settings of now."""
    with catalog.read() as session:
        return prediction_keys(session.get_one(Scene, scene.id), 1, delivery_options(catalog.settings))


def attributes(files: dict[str, bytes]) -> tuple[list[dict[str, Any]], NDArray[np.object_]]:
    """The attributes of the outlines, checked to be the same in all three formats, and their polygons in pixels."""
    features = json.loads(files["geojson"])["features"]
    assert features
    rows = [feature["properties"] for feature in features]
    with TemporaryDirectory() as folder:
        path = Path(folder, "outlines.gpkg")
        path.write_bytes(files["gpkg"])
        meta, _, wkb, columns = pyogrio.raw.read(path, layer="glacier_outlines")
    with ZipFile(io.BytesIO(files["shp.zip"])) as archive:
        assert "glacier_outlines.shp" in archive.namelist()
        assert all(name.encode() in archive.read("glacier_outlines.dbf") for name in rows[0])
    assert list(rows[0]) == list(meta["fields"])
    assert [row["class"] for row in rows] == columns[list(meta["fields"]).index("class")].tolist()
    pixels = shapely.transform(shapely.from_wkb(wkb), lambda at: (at - NORTH_UP[2::3]) / (30, -30))
    return rows, pixels


def test_a_scene_of_known_date_and_relief_gives_outlines_with_both(
    catalog: Catalog, scene: Scene, tmp_path: Path
) -> None:
    """The ground falls southwards by a pixel's side each row, 45 degrees steep."""
    fall = np.repeat(6000 - 30 * np.arange(100, dtype=np.int16)[:, None], 160, axis=1)
    dem = write_geotiff(tmp_path / "dem.tif", fall)
    source = describe(source_of(scene).bands, dem=ElevationSource(describe_dem([str(dem)])[0]))
    change(catalog, scene, source=source.to_json(), acquired="2000-10-30T04:41:00Z")
    rows, pixels = attributes(predict(catalog, scene))
    assert {row["src_date"] for row in rows} == {"2000-10-30"}
    for row, (_, top, _, bottom) in zip(rows, shapely.bounds(pixels), strict=True):
        assert (row["zmax_m"], row["zmin_m"]) == pytest.approx((6000 - 30 * top, 6000 - 30 * (bottom - 1)))
        assert row["zmin_m"] <= row["zmed_m"] <= row["zmax_m"]
        assert row["slope_deg"] == pytest.approx(45, abs=0.1)


def test_what_is_not_known_of_a_scene_its_outlines_do_not_claim(catalog: Catalog, scene: Scene) -> None:
    rows, _ = attributes(predict(catalog, scene))
    assert list(rows[0]) == [
        *("outline_id", "class", "area_km2", "cenlon", "cenlat", "smooth_px", "px_changed", "area_diff"),
        *("area_best", "area_low", "area_high", "conf_mean"),
    ]
    assert {(row["smooth_px"], row["px_changed"], row["area_diff"]) for row in rows} == {(0, 0, 0)}


def test_outlines_are_smoothed_as_the_settings_say_and_state_the_error(catalog: Catalog, scene: Scene) -> None:
    catalog.settings = catalog.settings.model_copy(update={"outline_smoothing_px": 1.0})
    rows, _ = attributes(predict(catalog, scene))
    assert {row["smooth_px"] for row in rows} == {1.0}
    assert 0 < rows[0]["px_changed"] < 0.2


def test_a_predicted_scene_is_smoothed_when_the_setting_changes(catalog: Catalog, scene: Scene) -> None:
    exact = attributes(predict(catalog, scene))[0]
    catalog.settings = catalog.settings.model_copy(update={"outline_smoothing_px": 1.0})
    smoothed = attributes(predict(catalog, scene))[0]
    assert {row["smooth_px"] for row in exact} == {0.0}
    assert {row["smooth_px"] for row in smoothed} == {1.0}


def test_a_job_predicts_as_it_was_asked_to_whatever_the_worker_is_set_to(
    catalog: Catalog, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a server whose settings are newer than the worker's would ask again and again."""
    monkeypatch.setattr("workers.predict_scene.load_champion", lambda _catalog: champion(seed=SEED))
    asked = catalog.settings.model_copy(update={"outline_smoothing_px": 1.0})
    context = context_of(
        catalog, JobKind.PREDICT_SCENE, scene_id=scene.id, delivery=delivery_options(asked).model_dump()
    )
    predict_scene(context, scene.id, delivery_options(asked).model_dump(mode="json"))
    catalog.settings = asked
    assert all(raster_store(catalog).exists(key) for key in keys_of(catalog, scene).values())


@pytest.mark.parametrize(
    "changed",
    [{"acquired": "2000-10-30"}, {"source": {"bands": [], "dem": "other.tif"}}],
    ids=["day", "files"],
)
def test_a_scene_that_was_corrected_is_predicted_anew(catalog: Catalog, scene: Scene, changed: dict[str, Any]) -> None:
    before = keys_of(catalog, scene)
    change(catalog, scene, **changed)
    after = keys_of(catalog, scene)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


def test_a_map_of_all_classes_names_them(catalog: Catalog, scene: Scene) -> None:
    files = predict(catalog, scene)
    assert {row["class"] for row in attributes(files)[0]} <= {"clean ice", "debris-covered ice"}
    with rasterio.open(io.BytesIO(files["tif"])) as dataset:
        assert dataset.descriptions == ("0 background, 1 clean ice, 2 debris-covered ice, 255 masked/unknown",)
        assert (dataset.read(1)[:, -20:] == UNKNOWN).all()


def test_confidence_and_total_areas_are_delivered_beside_the_map(catalog: Catalog, scene: Scene) -> None:
    files = predict(catalog, scene)
    with rasterio.open(io.BytesIO(files["tif"])) as shown, rasterio.open(io.BytesIO(files["confidence.tif"])) as found:
        classes, percent = shown.read(1), found.read(1)
        assert (found.crs, found.transform, found.nodata) == (shown.crs, shown.transform, 255)
        assert found.descriptions == ("probability of the class that the map shows, in percent, uncalibrated",)
    np.testing.assert_array_equal(percent == 255, classes == UNKNOWN)
    assert percent[classes != UNKNOWN].min() >= 33  # the most probable of three classes
    report = json.loads(files["areas.json"])
    assert (report["model_version"], report["scene"]) == (1, scene.name)
    for total in report["totals"][:2]:
        value = CLASSES.index(total["name"])
        assert total["mapped_km2"] == pytest.approx((classes == value).sum() * 900 / 1e6, rel=1e-3)
        assert total["low_km2"] is None


def test_glaciers_of_the_inventory_of_the_settings_are_reported(catalog: Catalog, scene: Scene, tmp_path: Path) -> None:
    left, bottom, right, top = source_of(scene).grid.bounds
    before = keys_of(catalog, scene)
    inventory = write_polygons(tmp_path / "rgi.gpkg", {"rgi": [box(left, bottom, right, top)]})
    catalog.settings = catalog.settings.model_copy(update={"glacier_inventory": str(inventory)})
    assert not set(keys_of(catalog, scene).values()) & set(before.values())
    report = json.loads(predict(catalog, scene)["areas.json"])
    (glacier,) = report["glaciers"]
    assert [area["mapped_km2"] for area in glacier["areas"]] == [total["mapped_km2"] for total in report["totals"]]


def test_an_inventory_that_is_missing_is_said(catalog: Catalog, scene: Scene, tmp_path: Path) -> None:
    catalog.settings = catalog.settings.model_copy(update={"glacier_inventory": str(tmp_path / "rgi.gpkg")})
    with pytest.raises(OutlineError, match=r"rgi\.gpkg"):
        predict(catalog, scene)


def test_ice_of_a_binary_version_is_called_glacier_not_clean_ice(catalog: Catalog, scene: Scene) -> None:
    files = predict(catalog, scene, champion(seed=SEED, head="binary"))
    assert {row["class"] for row in attributes(files)[0]} == {"glacier"}
    with rasterio.open(io.BytesIO(files["tif"])) as dataset:
        assert dataset.descriptions == ("0 background, 1 glacier, 255 masked/unknown",)
        assert set(np.unique(dataset.read(1))) == {0, 1, 255}


def test_a_format_that_an_earlier_release_did_not_write_is_made_with_the_next_prediction(
    catalog: Catalog, scene: Scene
) -> None:
    files = predict(catalog, scene)
    store, keys = raster_store(catalog), keys_of(catalog, scene)
    store.delete(keys["shp.zip"])
    assert predict(catalog, scene).keys() == files.keys() == set(raster_keys.PREDICTION_SUFFIXES)
    for key in keys.values():
        store.put(key, b"as it was")
    assert set(predict(catalog, scene).values()) == {b"as it was"}  # complete: nothing to do


def test_the_relief_read_by_strips_is_that_of_the_scene_at_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scenes.STRIP_ROWS", 7)
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    heights = np.random.default_rng(0).normal(5000, 30, (40, 60)).astype(np.float32)
    dem = write_geotiff(tmp_path / "dem.tif", heights, transform=(90.0, 0.0, NORTH_UP[2], 0.0, -90.0, NORTH_UP[5]))
    source = describe(source_of(scene).bands, dem=ElevationSource(describe_dem([str(dem)])[0]))
    strips = list(relief_of(source) or ())
    assert [strip.row for strip in strips] == list(range(0, source.grid.height, 7))
    monkeypatch.setattr("services.scenes.STRIP_ROWS", 1000)
    (at_once,) = relief_of(source) or ()
    for name in ("elevation_m", "slope_deg"):
        found = np.concatenate([getattr(strip, name) for strip in strips])
        np.testing.assert_array_equal(found, getattr(at_once, name))
        assert np.isfinite(found).any()


def test_the_day_is_that_in_utc() -> None:
    assert [str(day_of(Scene(acquired=text))) for text in ("2000-10-30", "2000-10-29T21:15:00Z", None)] == [
        *("2000-10-30", "2000-10-29", "None")
    ]
