"""What is known of a scene as a request: sent again, it gives the same scene; it names no file outside the folder."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from catalog.records import Scene
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from services.scene_description import describe_scene
from services.scene_files import AnyFile, BelowRoot
from services.scene_prefill import Prefill, prefill
from services.scene_request import ReplacementRequest
from tests.imagery.forge import BAND_NAMES, forge_scene, write_geotiff
from tests.imagery.product_forge import SIX, landsat_level_2, qa_pixel, sentinel_2, stored, write

SAME = ("role", "sensor", "acquired", "source", "outlines", "prior_outlines", "patch_size_px", "patch_overlap_px")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(var_dir=tmp_path, patch_size_px=32)
    found.scene_root.mkdir()
    return found


@pytest.fixture
def root(settings: Settings) -> Path:
    return settings.scene_root


def describe(settings: Settings, request: dict[str, Any]) -> Scene:
    parsed = ReplacementRequest.model_validate({"role": "pool", **request})
    return describe_scene(settings, parsed, BelowRoot(settings.scene_root), GLACIER_SCHEME).scene


def known(settings: Settings, request: dict[str, Any]) -> Prefill:
    """Return what is known of a scene that a request has registered, after a check that it gives the same scene."""
    scene = describe(settings, request)
    found = prefill(scene, settings)
    assert found.left_out == ()
    again = describe(settings, {"name": scene.name, **found.request})
    assert {name: getattr(again, name) for name in SAME} == {name: getattr(scene, name) for name in SAME}
    return found


def test_a_file_is_named_with_everything_that_was_stated_of_it(settings: Settings, root: Path) -> None:
    forge_scene(root / "scene.tif")
    write_geotiff(root / "dem.tif", np.full((100, 160), 500, np.int16), nodata=-1)
    write_geotiff(root / "coherence.tif", np.random.default_rng(0).uniform(0, 1, (100, 160)).astype(np.float32))
    outlines = [
        {"path": "scene_outlines.gpkg", "layer": layer, "class": name}
        for layer, name in (("clean_ice", "clean ice"), ("debris_covered_ice", "debris-covered ice"))
    ]
    asked = {
        "path": "scene.tif",
        "sensor": "landsat-8-oli",
        "acquired": "2000-10-30T04:41:00Z",
        "nodata": 3.0,
        "region": {"row_off": 0, "col_off": 8, "height": 96, "width": 96},
        "channels": [{"name": "coherence", "path": "coherence.tif", "unit": "1", "nodata": -1.0}],
        "dem": [{"path": "dem.tif", "unit": "ft"}],
        "border": {"path": "scene_outlines.gpkg", "layer": "clean_ice"},
        "outlines": outlines,
        "patch_size_px": 48,
        "patch_overlap_px": 8,
    }
    found = known(settings, asked).request
    for name in ("path", "sensor", "acquired", "nodata", "region", "border", "outlines", "patch_size_px"):
        assert found[name] == asked[name], name
    assert found["unit"] == "digital number"
    assert (found["channels"][0]["name"], found["channels"][0]["unit"]) == ("coherence", "1")
    assert found["dem"] == [{"path": "dem.tif", "unit": "m", "scale": pytest.approx(0.3048), "offset": 0.0}]


def test_a_day_that_follows_from_the_name_is_not_stated_since_another_file_may_be_of_another(
    settings: Settings, root: Path
) -> None:
    forge_scene(root / "langtang_20181026.tif")
    assert "acquired" not in known(settings, {"path": "langtang_20181026.tif"}).request
    stated = {"path": "langtang_20181026.tif", "acquired": "2018-10-27"}
    assert known(settings, stated).request["acquired"] == "2018-10-27"


def test_bands_that_were_given_one_by_one_are_named_one_by_one(settings: Settings, root: Path) -> None:
    for name in ("red", "nir"):
        write(root / f"{name}.tif", stored(name, 1.0, 0.0, dtype="float32"))
    write(root / "qa.tif", qa_pixel())
    named = {"red": "red.tif", "nir": "nir.tif", "QA_PIXEL": "qa.tif"}
    asked = {
        "name": "langtang",
        "bands": [{"name": name, "path": path} for name, path in named.items()],
        "sensor": "landsat-8-oli",
        "level": "surface",
        "masked": ["cloud"],
    }
    found = known(settings, asked).request
    bands = [(band["name"], band["path"]) for band in found["bands"]]
    assert bands == [("red", "red.tif"), ("nir", "nir.tif"), ("qa_pixel", "qa.tif")]
    assert (found["unit"], found["level"], found["masked"]) == ("reflectance", "surface", ["cloud"])


@pytest.mark.parametrize("place", ["folder", "archive"])
def test_a_product_is_named_by_its_folder_or_archive(settings: Settings, root: Path, place: str) -> None:
    landsat_level_2(root / "l2")
    path = "l2"
    if place == "archive":
        path = Path(shutil.make_archive(str(root / "sent"), "zip", root / "l2")).name
        shutil.rmtree(root / "l2")
    assert known(settings, {"path": path}).request == {"role": "pool", "path": path}
    assert known(settings, {"path": path, "masked": []}).request == {"role": "pool", "path": path, "masked": []}


def test_what_was_stated_of_a_product_is_stated_again(settings: Settings, root: Path) -> None:
    landsat_level_2(root / "l2")
    of_product = {
        "path": "l2",
        "acquired": "2018-10-26",
        "nodata": 1.0,
        "region": {"row_off": 0, "col_off": 0, "height": 64, "width": 96},
    }
    assert known(settings, of_product).request == {"role": "pool", **of_product}
    etm = np.stack([stored(name, 2.75e-5, -0.2) for name in SIX])
    write(root / "LE07_export.tif", etm, descriptions=[f"SR_B{number}" for number in (1, 2, 3, 4, 5, 7)])
    of_export = {"path": "LE07_export.tif", "acquired": "2000-10-30T04:41:00Z", "nodata": 8000.0}
    assert known(settings, of_export).request == {"role": "pool", **of_export}
    msi = np.stack([stored(name, 1e-4, 0) for name in SIX])
    write(root / "s2.tif", msi, descriptions=["B2", "B3", "B4", "B8", "B11", "B12"])
    level = {"path": "s2.tif", "sensor": "sentinel-2-msi", "acquired": "2018-10-26", "level": "top of atmosphere"}
    assert known(settings, level).request == {"role": "pool", **level}


@pytest.mark.parametrize("named", ["path", "bands"])
def test_a_channel_that_was_named_is_named_again_though_a_sensor_has_such_a_band(
    settings: Settings, root: Path, named: str
) -> None:
    forge_scene(root / "scene.tif")
    numbers = np.random.default_rng(0).uniform(250, 280, (100, 160)).astype(np.float32)
    names = ["thermal", "surface_temperature", "pan"]
    for name in names:
        write_geotiff(root / f"measured_{name}.tif", numbers)
    one_by_one = [{"name": name, "path": "scene.tif", "index": place} for place, name in enumerate(BAND_NAMES, start=1)]
    asked = {"name": "a", "bands": one_by_one} if named == "bands" else {"path": "scene.tif"}
    channels = [{"name": name, "path": f"measured_{name}.tif"} for name in names]
    found = known(settings, {**asked, "channels": channels}).request
    assert [{"name": item["name"], "path": item["path"]} for item in found["channels"]] == channels
    assert len(found.get("bands", BAND_NAMES)) == 4


def test_a_model_that_covers_a_part_of_the_scene_is_allowed_again(settings: Settings, root: Path) -> None:
    forge_scene(root / "scene.tif")
    write_geotiff(root / "dem.tif", np.full((60, 160), 500, np.int16), nodata=-1)
    asked = {"path": "scene.tif", "dem": [{"path": "dem.tif", "unit": "m"}], "allow_partial_dem": True}
    assert known(settings, asked).request["allow_partial_dem"] is True


def test_a_product_in_folders_of_its_own_is_named_by_the_outermost(settings: Settings, root: Path) -> None:
    safe = sentinel_2(root)
    assert known(settings, {"path": safe.name}).request == {"role": "pool", "path": safe.name}


def test_old_outlines_keep_the_class_of_each_value_and_what_was_said_of_them(settings: Settings, root: Path) -> None:
    forge_scene(root / "scene.tif")
    prior = [{"path": "scene_outlines.gpkg", "layer": "clean_ice", "class": "clean ice"}]
    asked = {"path": "scene.tif", "prior_outlines": prior, "prior_date": "2003", "prior_source": "ours"}
    found = known(settings, asked).request
    assert {name: found[name] for name in asked} == asked


def test_classes_of_one_layer_that_its_field_class_tells_apart_are_all_kept(settings: Settings, root: Path) -> None:
    forged = forge_scene(root / "scene.tif")
    left, bottom, right, top = forged.grid.bounds
    middle = (left + right) / 2
    own = {
        "geometry": shapely.to_wkb([shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]),
        "field_data": [np.array(["clean ice", "debris-covered ice"], object)],
        "fields": ["class"],
    }
    pyogrio.raw.write(root / "own.gpkg", geometry_type="Polygon", crs=forged.grid.crs, **own)
    outlines = [{"path": "own.gpkg", "class": name} for name in ("clean ice", "debris-covered ice")]
    assert known(settings, {"path": "scene.tif", "outlines": outlines}).request["outlines"] == outlines


def test_files_outside_of_the_scene_folder_are_left_out(settings: Settings, tmp_path: Path) -> None:
    forged = forge_scene(tmp_path / "elsewhere.tif")
    border = {"path": str(tmp_path / "elsewhere_outlines.gpkg"), "layer": "clean_ice"}
    request = ReplacementRequest.model_validate({"role": "pool", "path": str(forged.path), "border": border})
    scene = describe_scene(settings, request, AnyFile(), GLACIER_SCHEME).scene
    found = prefill(scene, settings)
    assert found.request == {"role": "pool", "unit": "digital number"}
    assert found.left_out == ("the files of the bands", "the border")


def test_each_value_of_a_field_keeps_its_class(settings: Settings, root: Path) -> None:
    forge_scene(root / "scene.tif")
    scene = describe(settings, {"path": "scene.tif"})
    layer = {"path": str(root / "rgi.gpkg"), "layer": "glaciers", "class_field": "kind"}
    scene.outlines = [
        {**layer, "class_name": "clean ice", "class_values": ["ice", "firn"]},
        {**layer, "class_name": "debris-covered ice", "class_values": ["debris"]},
    ]
    assert prefill(scene, settings).request["outlines"] == [
        {
            **{"path": "rgi.gpkg", "layer": "glaciers", "class_field": "kind"},
            "classes": {"ice": "clean ice", "firn": "clean ice", "debris": "debris-covered ice"},
        }
    ]


def test_each_outline_keeps_its_period(settings: Settings, root: Path) -> None:
    forge_scene(root / "scene.tif")
    scene = describe(settings, {"path": "scene.tif"})
    layer = {"path": str(root / "rgi.gpkg"), "layer": None, "class_name": "clean ice"}
    scene.outlines = [{**layer, "drawn_from": "2000", "drawn_to": None}, layer]  # stored before there were periods
    asked = {"path": "rgi.gpkg", "class": "clean ice"}
    assert prefill(scene, settings).request["outlines"] == [asked | {"drawn_from": "2000"}, asked]
