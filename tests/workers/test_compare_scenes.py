"""Changes between two scenes: asked for over HTTP, made by the job, and shown."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image

from catalog import jobs, registry_copy
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.prediction_uses import PredictionUse
from catalog.records import Job, Scene, SceneState, now
from catalog.registry import ModelVersion
from imagery.classes import GLACIER_SCHEME
from imagery.masks import OutlineLayer, mask_to_geotiff
from services.places import raster_store
from services.prior_outlines import PriorOutlines
from services.raster_keys import scene_change, truth
from services.scenes import source_of
from services.stored_files import orphans
from services.unused_predictions import remove_unused
from tests.al_server.test_detail_pages import words
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.cli.test_change_command import HALF, NORTH_UP, TEXTURE, add
from tests.imagery.forge import write_glaciers
from tests.services.predicting import store_prediction
from tests.workers.rows import finish
from workers import compare_scenes as job
from workers.compare_scenes import compare_scenes
from workers.jobs import JobContext
from workers.versions import LoadedVersion

CHANGES = "/api/v1/changes"
VERSION = ModelVersion(3, "", now(), {"class_names": '["background", "clean ice", "debris-covered ice"]'})
LOST_KM2 = 12 * 50 * 30 * 30 / 1e6


@pytest.fixture
def before() -> NDArray[np.uint8]:
    """A glacier of 40 x 50 px of 30 m."""
    mask: NDArray[np.uint8] = np.zeros((120, 160), dtype=np.uint8)
    mask[30:70, 40:90] = 1
    return mask


@pytest.fixture
def scenes(catalog: Catalog, before: NDArray[np.uint8]) -> tuple[Scene, Scene]:
    """The glacier, and ten years later without its lowest 12 rows, at 15 m."""
    catalog.settings.var_dir.mkdir(parents=True, exist_ok=True)
    after = before.copy()
    after[58:70] = 0
    first = add(catalog, "early", "2000-10-30", TEXTURE, NORTH_UP, outlines=before)
    image, classes = (np.kron(array, np.ones((2, 2))) for array in (TEXTURE, after))
    second = add(catalog, "late", "2010-10-30", image, HALF, outlines=classes.astype(np.uint8))
    with catalog.database.write() as session:
        for scene in (first, second):
            session.get_one(Scene, scene.id).outlines = [vars(OutlineLayer("a.gpkg", None, "clean ice"))]
        registry_copy.store(session, [VERSION])
    return first, second


Ask = Callable[..., Any]


@pytest.fixture
def ask(client: FlaskClient, catalog: Catalog) -> Ask:
    def asked(*pair: Scene, role: str = "reader", **more: Any) -> Any:
        body = {"earlier": pair[0].id, "later": pair[1].id, **more}
        return client.post(CHANGES, json=body, headers=as_role(catalog, role))

    return asked


def work(catalog: Catalog, job_id: str) -> None:
    with catalog.database.write() as session:
        claimed = jobs.claim(session, job_id)
    assert claimed is not None
    context = JobContext(catalog, claimed)
    compare_scenes(context, **claimed.subject)
    finish(context)


def draw_truth(catalog: Catalog, scene: Scene, mask: NDArray[np.uint8]) -> None:
    """Store another truth mask of a scene, as tiling does after the scene was replaced."""
    raster_store(catalog).put(truth(scene.id), mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME))


def get(client: FlaskClient, catalog: Catalog, path: str, role: str = "reader") -> Any:
    return client.get(path, headers=as_role(catalog, role))


def test_outlines_are_compared_and_the_files_are_those_of_the_command(
    client: FlaskClient, catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask, tmp_path: Path
) -> None:
    asked = ask(*scenes, of="outlines")
    assert (asked.status_code, asked.json["version"], asked.json["files"]) == (202, None, {})
    address = f"{CHANGES}/{asked.json['id']}"
    assert asked.headers["Location"] == address
    assert_problem(get(client, catalog, f"{address}/csv"), 409, "the change is queued")
    assert "it waits for its turn" in words(client, catalog, f"/changes/{asked.json['id']}")
    work(catalog, asked.json["job"]["id"])

    done = get(client, catalog, address).json
    assert set(done["files"]) == {"csv", "gpkg", "png", "json"}
    table = csv.DictReader(io.StringIO(get(client, catalog, done["files"]["csv"]).text))
    (whole,) = [row for row in table if (row["glacier"], row["class"]) == ("all", "clean ice")]
    assert float(whole["lost_km2"]) == pytest.approx(LOST_KM2, rel=0.01)
    (tmp_path / "change.gpkg").write_bytes(get(client, catalog, done["files"]["gpkg"]).data)
    polygons = pyogrio.read_info(tmp_path / "change.gpkg", layer="lost")
    assert polygons["features"] == 1
    assert Image.open(io.BytesIO(get(client, catalog, done["files"]["png"]).data)).format == "PNG"
    assert json.loads(get(client, catalog, done["files"]["json"]).data)["years"] == 10.0
    assert [item["id"] for item in get(client, catalog, CHANGES).json] == [asked.json["id"]]

    shown = words(client, catalog, f"/changes/{asked.json['id']}")
    assert "From early to late" in shown
    assert "early , 2000-10-30, mapped by the outlines registered with the scene" in shown
    assert f"0.00 {LOST_KM2:.2f} yes buffer" in shown
    assert "what changed" in words(client, catalog, "/changes")


def test_polygons_of_the_inventory_without_an_id_are_glaciers_of_their_own_which_the_page_tells(
    client: FlaskClient, catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask, tmp_path: Path
) -> None:
    left, bottom, right, top = source_of(scenes[0]).grid.bounds
    spans = ((left, left + 65 * 30), (left + 65 * 30, right))  # 25 columns of the glacier each
    halves = {("", str(place)): shapely.box(start, bottom, end, top) for place, (start, end) in enumerate(spans)}
    path = write_glaciers(tmp_path / "rgi.gpkg", halves)
    catalog.settings = catalog.settings.model_copy(update={"glacier_inventory": str(path)})
    asked = ask(*scenes, of="outlines")
    work(catalog, asked.json["job"]["id"])
    files = get(client, catalog, f"{CHANGES}/{asked.json['id']}").json["files"]
    table = csv.DictReader(io.StringIO(get(client, catalog, files["csv"]).text))
    lost = {row["glacier"]: float(row["lost_km2"]) for row in table if row["class"] == "clean ice"}
    assert lost.pop("all") == pytest.approx(LOST_KM2, rel=0.01)
    assert lost == pytest.approx({f"feature {number} of rgi.gpkg": LOST_KM2 / 2 for number in (1, 2)}, rel=0.01)
    assert "The inventory: 2 polygons have no id" in words(client, catalog, f"/changes/{asked.json['id']}")


def test_maps_of_the_version_that_is_asked_for_are_made_where_they_are_missing(
    client: FlaskClient,
    catalog: Catalog,
    scenes: tuple[Scene, Scene],
    before: NDArray[np.uint8],
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network is replaced by one that finds the whole glacier everywhere."""
    predicted = []

    def predict(_: JobContext, loaded: LoadedVersion, scene_id: int, __: object) -> None:
        scene = next(item for item in scenes if item.id == scene_id)
        predicted.append(scene.name)
        classes = before if scene.name == "early" else np.kron(before, np.ones((2, 2))).astype(np.uint8)
        store_prediction(catalog, scene, classes, loaded.version.version)

    monkeypatch.setattr(job, "load_version", lambda _, __: LoadedVersion(VERSION, None, None))
    monkeypatch.setattr(job, "predict_by", predict)
    asked = ask(*scenes, version=3)
    work(catalog, asked.json["job"]["id"])
    assert predicted == ["early", "late"]
    done = get(client, catalog, f"{CHANGES}/{asked.json['id']}").json
    assert set(done["files"]) == {"csv", "png", "json"}  # nothing changed: there are no polygons
    assert_problem(get(client, catalog, f"{CHANGES}/{asked.json['id']}/gpkg"), 404, "nothing changed")
    assert "maps of a version" in words(client, catalog, f"/changes/{asked.json['id']}")


def test_what_cannot_be_compared_is_refused_at_once(catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask) -> None:
    early, late = scenes
    assert_problem(ask(late, early, of="outlines"), 422, "expected the earlier scene first")
    assert_problem(ask(early, early, of="outlines"), 422, "found scene 'early' twice")
    assert_problem(ask(early, late, of="priors"), 409, "scene 'early' has no prior outlines")
    assert_problem(ask(early, late), 409, "no model version has been promoted yet")
    assert_problem(ask(early, late, version=9), 404, "9")
    a, *rest = NORTH_UP
    far = add(catalog, "far", "2011-10-30", TEXTURE, (a, rest[0], rest[1] + 90_000, *rest[2:]))
    assert_problem(ask(early, far, of="outlines"), 409, "scene 'far' has no outlines")
    assert_problem(ask(early, far, version=3), 422, "ground")
    prior = PriorOutlines((OutlineLayer("rgi.gpkg", None, "clean ice"),), "2000-10-30", "RGI", 0.0, "0" * 64)
    with catalog.database.write() as session:
        session.get_one(Scene, early.id).prior_outlines = prior.to_json()
    assert_problem(ask(early, early, of="priors"), 409, "no version has scored the pool yet")
    with catalog.database.write() as session:
        session.get_one(Scene, late.id).state = SceneState.REGISTERED
        assert session.query(Job).count() == 0
    assert_problem(ask(early, late, of="outlines"), 409, "wait until it is ready")


def test_a_repeated_attempt_makes_nothing_anew_and_nothing_is_an_orphan(
    catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(*scenes, of="outlines")
    work(catalog, asked.json["job"]["id"])
    keys = sorted(raster_store(catalog).all_keys())
    with catalog.database.write() as session:
        assert [key for key in orphans(session, raster_store(catalog), keys) if "change-" in key] == []
        again = session.get_one(Job, asked.json["job"]["id"])
        monkeypatch.setattr(job, "compare", None)  # would fail if it were called
        compare_scenes(JobContext(catalog, again), **again.subject)
        assert orphans(session, raster_store(catalog), ["predictions/change-" + "0" * 32 + "/change.csv"]) != []


def test_files_go_when_nobody_uses_them(
    client: FlaskClient, catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask
) -> None:
    asked = ask(*scenes, of="outlines")
    work(catalog, asked.json["job"]["id"])
    store = raster_store(catalog)
    catalog.settings = catalog.settings.model_copy(update={"prediction_keep_days": 10.0})
    assert remove_unused(catalog, store.all_keys()) == []
    with catalog.database.write() as session:
        for use in session.query(PredictionUse):
            use.used_at -= timedelta(days=11)
    assert len(remove_unused(catalog, store.all_keys())) == 1
    assert [key for key in store.all_keys() if "change-" in key] == []
    assert get(client, catalog, f"{CHANGES}/{asked.json['id']}").json["files"] == {}
    assert "it was removed" in words(client, catalog, f"/changes/{asked.json['id']}")


def test_who_asks_for_the_same_again_gets_what_there_is(
    client: FlaskClient, catalog: Catalog, scenes: tuple[Scene, Scene], before: NDArray[np.uint8], ask: Ask
) -> None:
    first = ask(*scenes, of="outlines").json
    assert ask(*scenes, of="outlines").json == first  # it waits
    assert ask(*scenes, version=3).json["id"] != first["id"]
    work(catalog, first["job"]["id"])
    again = ask(*scenes, of="outlines").json
    assert (again["id"], again["job"]["id"], again["job"]["state"]) == (first["id"], first["job"]["id"], "finished")

    store = raster_store(catalog)
    for key in store.all_keys():
        if "change-" in key:
            store.delete(key)
    anew = ask(*scenes, of="outlines").json
    assert (anew["id"], anew["job"]["state"]) == (first["id"], "queued")
    work(catalog, anew["job"]["id"])
    assert len(get(client, catalog, f"{CHANGES}/{first['id']}").json["files"]) == 4
    assert [item["id"] for item in get(client, catalog, CHANGES).json].count(first["id"]) == 1

    Path(store.uri(scene_change(first["id"], "gpkg"))).write_bytes(b"damaged")
    mended = ask(*scenes, of="outlines").json
    assert (mended["id"], mended["job"]["state"]) == (first["id"], "queued")

    draw_truth(catalog, scenes[0], before[::-1])
    assert ask(*scenes, of="outlines").json["id"] != first["id"]


def test_what_was_changed_while_its_comparison_waited_is_not_stored_under_its_id(
    catalog: Catalog, scenes: tuple[Scene, Scene], before: NDArray[np.uint8], ask: Ask
) -> None:
    asked = ask(*scenes, of="outlines").json
    draw_truth(catalog, scenes[0], before[::-1])
    with pytest.raises(ConflictError, match="was changed since this change was asked for"):
        work(catalog, asked["job"]["id"])
    assert [key for key in raster_store(catalog).all_keys() if "change-" in key] == []


def test_outlines_that_measure_annotators_are_compared_by_operators_only(
    client: FlaskClient, catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask
) -> None:
    catalog.settings = catalog.settings.model_copy(update={"honeypot_share": 0.1})
    assert_problem(ask(*scenes, of="outlines"), 403, "only operators may compare them")
    asked = ask(*scenes, of="outlines", role="operator")
    assert asked.status_code == 202
    address = f"{CHANGES}/{asked.json['id']}"
    assert get(client, catalog, address).status_code == 404
    assert get(client, catalog, f"/changes/{asked.json['id']}").status_code == 404
    assert get(client, catalog, CHANGES).json == []
    assert get(client, catalog, address, "operator").status_code == 200


def test_no_more_are_taken_on_than_may_wait(catalog: Catalog, scenes: tuple[Scene, Scene], ask: Ask) -> None:
    catalog.settings = catalog.settings.model_copy(update={"predictions_at_once": 1})
    assert ask(*scenes, of="outlines").status_code == 202
    assert ask(*scenes, of="outlines").status_code == 202  # it is the same
    full = ask(*scenes, version=3)
    assert (full.status_code, "Retry-After" in full.headers) == (503, True)
