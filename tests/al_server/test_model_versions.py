"""What operations watch and the web tool fetches, against a real MLflow.

MLflow and torch are imported by the fixtures: importing them takes longer than all fast tests of this folder.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from al_server import served_model
from al_server.app import create_app
from catalog import jobs
from catalog.bundle_cache import FILES, checksum_tag
from catalog.context import Catalog
from catalog.decision_records import DecisionRequest, Promotion, PromotionIntent
from catalog.errors import ConflictError, ServiceDownError
from catalog.records import Job, JobKind, Scene, now
from catalog.registry import CHAMPION, LEARNER, ModelRegistry, Overview, registry_of
from catalog.registry_copy import RegistryCopy
from catalog.settings import Settings
from imagery.store import RasterStore
from services.decision_requests import GIVE_UP_AFTER, carry_out_requests
from services.delivery import delivery_options, prediction_keys
from services.part_checks import check_parts
from services.promotion import apply_verdict, promote, roll_back, settle_intents
from services.registry_watch import WATCH_INTERVAL_S, RegistryWatcher
from tests.al_server.test_dashboard import load
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import NOBODY, add_scene, as_role
from workers.clock import repeat

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow

MODELS = "/api/v1/models"
ORIGIN = {"Origin": "http://web.example"}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from models.bundle import write_bundle
    from tests.models.cards import origin
    from tests.models.networks import small_segmenter

    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, small_segmenter(), origin())
    assert {file.name for file in folder.iterdir()} == set(FILES)
    return folder


@pytest.fixture
def settings(settings: Settings, mlflow_server: str) -> Settings:
    """Settings with a model of their own in the registry that the tests share."""
    return settings.model_copy(update={"mlflow_url": mlflow_server, "registered_model": f"model-{uuid4().hex}"})


@pytest.fixture
def watcher(catalog: Catalog) -> RegistryWatcher:
    """The watch of the registry, which the clock keeps; here it looks when a test says so."""
    return RegistryWatcher(catalog)


@pytest.fixture
def register(settings: Settings, bundle: Path, watcher: RegistryWatcher) -> Callable[..., int]:
    """Register a version as a fine-tune does, and look; keyword arguments with __ for . are further tags."""
    from catalog.tracking import Tracking

    tracking = Tracking(settings.mlflow_url, "tests", settings.registered_model)

    def make(**tags: str) -> int:
        run_id = tracking.start_run("fine-tune", {"steps": 5}, {})
        sums = {checksum_tag(name): hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}
        given = {name.replace("__", "."): value for name, value in tags.items()}
        version = tracking.register(run_id, bundle, {**sums, **given}, "for a test")
        tracking.end_run(run_id, "FINISHED")
        watcher.look()
        return version

    return make


@pytest.fixture
def mlflow_client(settings: Settings) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)


class Api:
    """The client with a token."""

    def __init__(self, client: FlaskClient, catalog: Catalog) -> None:
        self.client, self.catalog = client, catalog

    def get(self, path: str, **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(f"{MODELS}{path}", headers={**as_role(self.catalog, "reader"), **ORIGIN, **headers})

    def post(self, path: str, reason: str = "looks better on Khumbu") -> Any:
        return self.client.post(f"{MODELS}{path}", json={"reason": reason}, headers=as_role(self.catalog, "operator"))

    def decide(self, path: str, reason: str = "looks better on Khumbu") -> Any:
        """Ask for a decision and carry it out as the clock does; return the request as it is told afterwards."""
        asked = self.post(path, reason)
        assert (asked.status_code, asked.json["state"]) == (202, "waiting")
        carry_out_requests(self.catalog, registry_of(self.catalog.settings))
        return self.get(asked.headers["Location"].removeprefix(MODELS)).json

    def promote(self, version: int) -> Any:
        """Promote a version; return the decision."""
        told = self.decide(f"/{version}/promote")
        assert (told["state"], told["fault"]) == ("done", None)
        return told["decision"]

    def roll_back(self, reason: str = "looks worse") -> Any:
        return self.decide("/rollback", reason)["decision"]

    def champion(self) -> int:
        found: int = self.get("/latest").json["version"]
        return found


@pytest.fixture
def api(client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(served_model, "READ_S", 0.0)  # so that tests need not wait until a decision shows
    return Api(client, catalog)


FIGURES = {
    "parent_version": "1",
    "labels__count": "30",
    "labels__simulated": "4",
    "labels__sha256": "a" * 64,
    "validation__mean_iou": "0.610000",
    "validation__iou__clean ice": "0.700000",
    "validation__gain__mean_iou": "0.050000",
    "validation__gain__iou__clean ice": "-0.010000",
    "test__mean_iou": "0.580000",
    "verdict": "promoted",
    "verdict__reason": "mean IoU changed by +0.050",
}


def test_a_binary_version_is_told_by_the_classes_that_it_knows(api: Api, register: Callable[..., int]) -> None:
    register(validation__mean_iou="0.7", validation__iou__background="0.9", validation__iou__glacier="0.5")
    assert api.get("/1").json["iou"]["validation"] == {"mean": 0.7, "background": 0.9, "glacier": 0.5}


def test_before_the_first_version_there_is_nothing_to_serve(api: Api) -> None:
    assert api.get("").json == []
    for path in ("/latest", "/latest/onnx", "/latest/weights", "/latest/card"):
        assert_problem(api.get(path), 404, "no model version has been promoted yet")
    assert_problem(api.get("/1"), 404, "there is no version 1")
    assert_problem(api.post("/1/promote"), 404, "there is no version 1")
    assert_problem(api.post("/rollback"), 409, "no version is served")


def test_a_version_that_is_not_promoted_is_not_served(api: Api, register: Callable[..., int]) -> None:
    register()
    assert_problem(api.get("/latest"), 404, "no model version has been promoted yet")


def test_versions_carry_the_proof_of_their_gain(api: Api, register: Callable[..., int]) -> None:
    register(validation__mean_iou="0.560000")
    register(**FIGURES)
    newest, first = api.get("").json
    assert (newest["version"], first["version"]) == (2, 1)
    assert newest["iou"]["validation"] == {
        "mean": 0.61,
        "background": None,
        "clean ice": 0.7,
        "debris-covered ice": None,
    }
    assert newest["iou"]["test"]["mean"] == 0.58
    assert (newest["gain"]["validation"]["mean"], newest["gain"]["validation"]["clean ice"]) == (0.05, -0.01)
    assert (newest["parent_version"], newest["labels"], newest["simulated_labels"]) == (1, 30, 4)
    assert (newest["verdict"], newest["verdict_reason"]) == ("promoted", "mean IoU changed by +0.050")
    assert set(newest["sha256"]) == set(FILES)
    assert (first["parent_version"], first["gain"]) == (None, {})
    assert api.get("/2").json == newest


def test_promotion_serves_the_version_keeps_who_and_why_and_scores_the_pool(
    api: Api, catalog: Catalog, register: Callable[..., int]
) -> None:
    register()
    told = api.promote(1)
    assert told.pop("completed_at") >= told["decided_at"]
    assert abs(now() - datetime.fromisoformat(told.pop("decided_at"))) < timedelta(minutes=1)
    assert told == {
        "id": 1,
        "evidence": None,
        "version": 1,
        "previous_version": None,
        "verdict": "promoted",
        "reason": "looks better on Khumbu",
        "actor": "operator",
    }
    assert api.champion() == 1
    with catalog.read() as session:
        row = session.query(Promotion).one()
        assert (row.model_version, row.reason, row.actor) == (1, "looks better on Khumbu", "operator")
        assert [job.kind for job in session.query(Job)] == [JobKind.SCORE_POOL]
    assert_problem(api.post("/1/promote"), 409, "version 1 is served already")


GATE = {
    "champion_version": 1,
    "confidence": 0.9,
    "margin": 0.05,
    "class_margin": 0.1,
    "mean_iou": {"gain": -0.02, "low": -0.07, "high": 0.03, "outcome": "cannot tell"},
    "iou": {"clean ice": {"gain": -0.02, "low": -0.07, "high": 0.03, "outcome": "cannot tell"}},
    "blocks": 40,
    "block_px": 32,
    "independent_blocks": 31.5,
    "blocks_needed": 190,
    "too_small": True,
}


def test_both_tracks_decisions_and_intervals_are_told(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    """Version 1 is served; version 2, which the gate kept back, is the learner; then a person chooses version 1."""
    register(**{**FIGURES, "parent_version": "", "validation__mean_iou": "0.6"})
    kept = {"verdict": "kept", "verdict__reason": "cannot tell", "champion_version": "1", "labels__count": "36"}
    register(**{**FIGURES, **kept, "validation__gain__mean_iou": "0.01", "gate__evidence": json.dumps(GATE)})
    registry = registry_of(catalog.settings)
    apply_verdict(catalog, registry, 1, "the first version", None, promoted=True)
    apply_verdict(catalog, registry, 2, "cannot tell", GATE, promoted=False)
    assert registry.scoring("learner").version == 2
    assert registry.scoring("champion").version == 1

    assert api.get("/2").json["gate"] == GATE
    first, second = api.get("/tracks").json
    assert (first["version"], first["served_version"], first["served_mean_iou"]["validation"]) == (1, 1, 0.6)
    assert (second["version"], second["mean_iou"]["validation"], second["labels"]) == (2, 0.61, 36)
    assert (first["low"], first["high"]) == (None, None)
    assert (second["low"], second["high"]) == (0.56, 0.66)  # 0.61 + 0.02, which is the champion's, - 0.07 and + 0.03
    assert (second["served_version"], second["served_mean_iou"]["validation"]) == (1, 0.6)
    newest, oldest = api.get("/decisions").json
    assert (newest["verdict"], newest["version"], newest["evidence"]) == ("kept", 2, GATE)
    assert (oldest["verdict"], oldest["evidence"]) == ("promoted", None)

    shown = " ".join(load(client, catalog).text.split())
    assert "The validation region is too small: it has 40 blocks of 32 px; about 190 would show" in shown
    assert "2 challenger learner 36 0.610 +0.010 -0.070 to +0.030 0.700 – kept: cannot tell" in shown

    api.promote(1)  # it is served already: training shall go on from it
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 1}
    set_back = api.get("/decisions").json[0]
    assert (set_back["verdict"], set_back["version"], set_back["previous_version"]) == ("set back", 1, 2)
    assert "1 made the learner again looks better on Khumbu operator" in " ".join(load(client, catalog).text.split())


def test_rolling_back_twice_goes_back_two_versions(api: Api, register: Callable[..., int]) -> None:
    for version in (1, 2, 3):
        assert register() == version
        api.promote(version)
    assert api.roll_back("worse on debris")["version"] == 2
    assert api.champion() == 2
    back = api.roll_back("still worse")
    assert (back["version"], back["previous_version"], back["verdict"]) == (1, 2, "rolled back")
    assert_problem(api.post("/rollback"), 409, "served before 1")
    assert api.champion() == 1


def test_a_champion_moved_in_mlflow_shows_within_five_seconds_and_is_recorded(
    api: Api, catalog: Catalog, register: Callable[..., int], mlflow_client: "MlflowClient", settings: Settings
) -> None:
    register()
    register()
    api.promote(1)
    assert api.champion() == 1
    stop = threading.Event()
    watching = repeat("the watch", RegistryWatcher(catalog).look, WATCH_INTERVAL_S, stop)
    mlflow_client.set_registered_model_alias(settings.registered_model, "champion", "2")
    deadline = time.monotonic() + 5
    while api.champion() != 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    stop.set()
    watching.join()
    moved = api.get("/decisions").json[0]
    assert (moved["verdict"], moved["actor"]) == ("moved", "MLflow's page")
    assert (moved["previous_version"], moved["version"]) == (1, 2)
    assert "champion was moved to version 2" in moved["reason"]
    assert api.roll_back()["version"] == 1


def test_a_move_in_mlflow_to_a_damaged_version_is_undone(
    api: Api,
    register: Callable[..., int],
    mlflow_client: "MlflowClient",
    settings: Settings,
    watcher: RegistryWatcher,
    tmp_path: Path,
) -> None:
    register()
    version = register()
    api.promote(1)
    run_id = mlflow_client.get_model_version(settings.registered_model, str(version)).run_id
    (tmp_path / "model.onnx").write_bytes(b"something else")
    mlflow_client.log_artifact(run_id, str(tmp_path / "model.onnx"), "bundle")
    mlflow_client.set_registered_model_alias(settings.registered_model, "champion", str(version))
    watcher.look()
    assert api.champion() == 1
    assert registry_of(settings).aliases()["champion"] == 1
    undone = api.get("/decisions").json[0]
    assert (undone["verdict"], undone["actor"], undone["previous_version"], undone["version"]) == (
        *("undone", "server", 2),
        1,
    )
    assert "it was changed after it was registered" in undone["reason"]


def test_moves_in_mlflow_are_undone_if_the_setting_says_so(
    api: Api, catalog: Catalog, register: Callable[..., int], mlflow_client: "MlflowClient", settings: Settings
) -> None:
    register()
    register()
    api.promote(1)
    catalog.settings = settings.model_copy(update={"mlflow_moves": "undo"})
    mlflow_client.set_registered_model_alias(settings.registered_model, "champion", "2")
    mlflow_client.delete_registered_model_alias(settings.registered_model, "learner")
    watcher = RegistryWatcher(catalog)
    watcher.look()  # one decision a look
    watcher.look()
    assert registry_of(settings).aliases() == {"champion": 1, "learner": 1}
    assert [item["verdict"] for item in api.get("/decisions").json] == ["learner undone", "undone", "promoted"]


def test_the_last_known_champion_is_served_while_mlflow_is_down_or_has_lost_its_model(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int], settings: Settings
) -> None:
    register()
    api.promote(1)
    for address, model in ((NOBODY, settings.registered_model), (settings.mlflow_url, "model-of-nobody")):
        catalog.settings = settings.model_copy(update={"mlflow_url": address, "registered_model": model})
        check_parts(catalog)
        RegistryWatcher(catalog).look()
        latest = api.get("/latest")
        assert (latest.status_code, latest.json["version"]) == (200, 1)
        seen = datetime.fromisoformat(latest.headers["X-Registry-Seen"])
        assert abs(now() - seen) < timedelta(minutes=1)
        told = client.get("/readyz", headers=as_role(catalog, "reader")).json["parts"]["mlflow"]
        assert "MLflow does not answer" in told
        assert "What is known of it is" in told
        with api.get("/latest/card") as card:
            assert card.status_code == 200


def test_who_was_champion_at_a_time_is_one_call(api: Api, register: Callable[..., int]) -> None:
    register()
    register()
    before = now()
    first = api.decide("/1/promote", "the first")["decision"]
    api.promote(2)
    assert api.get("/champion").json["version"] == 2
    then = api.get(f"/champion?at={first['completed_at'].replace('+00:00', 'Z')}").json
    assert (then["version"], then["decision"]["reason"], then["decision"]["actor"]) == (1, "the first", "operator")
    nobody = api.get(f"/champion?at={before:%Y-%m-%dT%H:%M:%SZ}").json
    assert (nobody["version"], nobody["decision"]) == (None, None)


def test_a_stale_look_does_not_take_our_own_promotion_for_a_move(
    api: Api, catalog: Catalog, register: Callable[..., int], settings: Settings
) -> None:
    """Somebody promotes a version after the watch asked MLflow and before it compares the answer."""
    register()
    register()
    api.promote(1)
    watcher = RegistryWatcher(catalog)

    class Slow(ModelRegistry):
        def overview(self) -> Overview | None:
            found = super().overview()
            api.promote(2)
            return found

    watcher._registry = Slow(settings.mlflow_url, settings.registered_model)
    watcher.look()
    assert api.champion() == 2
    assert [item["verdict"] for item in api.get("/decisions").json] == ["promoted", "promoted"]


def test_polling_costs_nothing_while_nothing_has_changed(api: Api, register: Callable[..., int]) -> None:
    register()
    register()
    api.promote(1)
    first = api.get("/latest")
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
    tag = first.headers["ETag"]
    unchanged = api.get("/latest", If_None_Match=tag)
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", tag)
    api.promote(2)
    changed = api.get("/latest", If_None_Match=tag)
    assert (changed.status_code, changed.json["version"]) == (200, 2)
    assert changed.headers["ETag"] != tag


@pytest.mark.parametrize(
    ("path", "name"), [("/onnx", "model.onnx"), ("/weights", "weights.safetensors"), ("/card", "card.json")]
)
def test_files_are_served_whole_in_ranges_and_only_when_changed(
    api: Api, register: Callable[..., int], bundle: Path, path: str, name: str
) -> None:
    register()
    api.promote(1)
    data = (bundle / name).read_bytes()
    with api.get(f"/latest{path}") as whole:
        assert whole.data == data
        assert whole.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert whole.headers["X-Model-Version"] == "1"
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert whole.headers["Access-Control-Allow-Origin"] in {"*", "http://web.example"}
        exposed = whole.headers["Access-Control-Expose-Headers"]
        assert {"ETag", "X-Model-Version", "Content-Range"} <= {item.strip() for item in exposed.split(",")}
    with api.get(f"/latest{path}", Range="bytes=10-19") as part:
        assert (part.status_code, part.data) == (206, data[10:20])
        assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    with api.get(f"/latest{path}", Range=f"bytes={len(data)}-") as beyond:
        assert_problem(beyond, 416)
    with api.get(f"/latest{path}", If_None_Match=whole.headers["ETag"]) as same:
        assert (same.status_code, same.data) == (304, b"")


def test_a_file_that_was_changed_after_its_registration_is_not_served(
    api: Api, register: Callable[..., int], settings: Settings, mlflow_client: "MlflowClient", tmp_path: Path
) -> None:
    version = register()
    run_id = mlflow_client.get_model_version(settings.registered_model, str(version)).run_id
    (tmp_path / "model.onnx").write_bytes(b"something else")
    mlflow_client.log_artifact(run_id, str(tmp_path / "model.onnx"), "bundle")
    told = api.decide(f"/{version}/promote")
    assert (told["state"], told["decision"]) == ("refused", None)
    assert "version 1 cannot be served: model.onnx of version 1" in told["fault"]
    assert "was changed" in told["fault"]
    assert_problem(api.get("/latest/onnx"), 404, "no model version has been promoted yet")


def test_damaged_files_and_missing_cards_are_fetched_by_the_clock_and_by_no_request(
    api: Api,
    register: Callable[..., int],
    watcher: RegistryWatcher,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    register()
    api.promote(1)
    watcher.look()
    cards = sorted((settings.var_dir / "cache" / "models").glob("*/card.json"))
    assert len(cards) == 2  # also that of the version that is not served
    for card in cards:
        card.write_text("damaged")
    with monkeypatch.context() as patched:
        patched.setattr(ModelRegistry, "artifact", lambda *_: pytest.fail("a request asked MLflow"))
        assert_problem(api.get("/latest/card"), 503, "is being fetched")
        (training,) = api.get("/2/lineage").json["trainings"]
    assert training["settings"] is None
    assert "the card of version 2 is not in the local cache" in training["fault"]
    RegistryWatcher(api.catalog).look()  # as after a restart of the clock
    with api.get("/latest/card") as card_again:
        assert card_again.status_code == 200
    assert api.get("/2/lineage").json["trainings"][0]["settings"] is not None


def test_a_version_that_is_not_ours_is_shown_and_not_served(
    api: Api, settings: Settings, mlflow_client: "MlflowClient", watcher: RegistryWatcher
) -> None:
    mlflow_client.create_registered_model(settings.registered_model)
    mlflow_client.create_model_version(settings.registered_model, source="s3://elsewhere/model")
    watcher.look()
    (shown,) = api.get("").json
    assert (shown["version"], shown["iou"], shown["labels"]) == (1, {}, 0)
    assert "version 1 has no file bundle/" in api.decide("/1/promote")["fault"]


def test_files_once_fetched_are_served_though_mlflow_lost_them(
    api: Api, register: Callable[..., int], bundle: Path, mlflow_client: "MlflowClient", settings: Settings
) -> None:
    version = register()
    api.promote(version)
    with api.get("/latest/weights") as first:
        assert first.status_code == 200
    cached = list((settings.var_dir / "cache" / "models").rglob("*.safetensors"))
    assert [file.read_bytes() for file in cached] == [(bundle / "weights.safetensors").read_bytes()]
    run_id = mlflow_client.get_model_version(settings.registered_model, str(version)).run_id
    mlflow_client.log_text(run_id, "damaged", "bundle/weights.safetensors")
    with api.get("/latest/weights") as second:
        assert second.data == (bundle / "weights.safetensors").read_bytes()


def stored(client: FlaskClient, catalog: Catalog, scene: Scene) -> tuple[RasterStore, Mapping[str, str]]:
    """The store of the app, and the keys under which version 1's prediction of a scene is found there."""
    keys = prediction_keys(scene, 1, delivery_options(catalog.settings))
    return client.application.extensions["parts"].store, keys


def test_a_prediction_is_made_once_and_then_served(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    register()
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
    address = f"/api/v1/scenes/{scene.id}/prediction"

    def ask(suffix: str) -> Any:
        return client.get(f"{address}.{suffix}", headers=as_role(catalog, "reader"))

    assert_problem(ask("tif"), 409, "no model version has been promoted yet")
    api.promote(1)
    first, second = ask("tif"), ask("gpkg")
    assert (first.status_code, first.json["kind"], first.headers["Retry-After"]) == (202, "predict_scene", "5")
    assert first.json["id"] == second.json["id"]
    assert first.headers["Location"] == f"/api/v1/jobs/{first.json['id']}"
    with catalog.database.write() as session:
        jobs.claim(session, first.json["id"])
        jobs.fail(session, first.json["id"], 1, "the disk is full")
    assert_problem(ask("tif"), 409, "the prediction failed: the disk is full", first.json["id"])
    store, keys = stored(client, catalog, scene)
    for suffix in keys:
        store.put(keys[suffix], suffix.encode())
    media = {
        "geojson": "application/geo+json",
        "gpkg": "application/geopackage+sqlite3",
        "shp.zip": "application/zip",
        "areas.json": "application/json",
        "confidence.tif": "image/tiff",
        "tif": "image/tiff",
    }
    for suffix, media_type in media.items():
        served = ask(suffix)
        assert (served.status_code, served.data) == (200, suffix.encode())
        assert served.content_type.startswith(media_type)
        assert served.headers["X-Model-Version"] == "1"
        assert f'filename="khumbu-v1.{suffix}"' in served.headers["Content-Disposition"]


def test_a_format_that_an_earlier_release_did_not_write_is_made_when_it_is_asked_for(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    register()
    api.promote(1)
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
    store, keys = stored(client, catalog, scene)
    for suffix in ("geojson", "gpkg", "tif"):
        store.put(keys[suffix], suffix.encode())

    def ask(suffix: str) -> Any:
        return client.get(f"/api/v1/scenes/{scene.id}/prediction.{suffix}", headers=as_role(catalog, "reader"))

    answered = ask("shp.zip")
    assert (answered.status_code, answered.json["kind"]) == (202, "predict_scene")
    assert {suffix: ask(suffix).status_code for suffix in ("geojson", "gpkg", "tif")} == {
        "geojson": 200,
        "gpkg": 200,
        "tif": 200,
    }
    with catalog.database.write() as session:
        jobs.claim(session, answered.json["id"])
        jobs.finish(session, answered.json["id"], 1)
    store.put(keys["shp.zip"], b"zipped")
    assert (ask("shp.zip").status_code, ask("shp.zip").data) == (200, b"zipped")


def test_a_prediction_that_was_cancelled_is_not_started_again_by_polling(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    register()
    api.promote(1)
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
    address = f"/api/v1/scenes/{scene.id}/prediction.tif"
    first = client.get(address, headers=as_role(catalog, "reader"))
    cancelled = client.post(f"/api/v1/jobs/{first.json['id']}/cancel", headers=as_role(catalog, "operator"))
    assert (first.status_code, cancelled.json["state"]) == (202, "cancelled")
    again = client.get(address, headers=as_role(catalog, "reader"))
    assert_problem(again, 409, "the prediction was cancelled", first.json["id"])


def test_another_smoothing_makes_another_prediction(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    register()
    api.promote(1)
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
    store, keys = stored(client, catalog, scene)
    for suffix, key in keys.items():
        store.put(key, suffix.encode())

    def ask() -> Any:
        return client.get(f"/api/v1/scenes/{scene.id}/prediction.gpkg", headers=as_role(catalog, "reader"))

    assert ask().data == b"gpkg"
    catalog.settings = catalog.settings.model_copy(update={"outline_smoothing_px": 0.8})
    anew = ask()
    assert anew.status_code == 202
    assert anew.json["subject"]["scene_id"] == scene.id
    assert anew.json["subject"]["delivery"]["smoothing_px"] == 0.8
    catalog.settings = catalog.settings.model_copy(update={"outline_smoothing_px": 0.0})
    assert ask().data == b"gpkg"


def test_the_champion_is_in_the_metrics_and_on_the_status_page(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    register(**{**FIGURES, "parent_version": ""})
    register(**FIGURES)
    api.promote(2)
    text = client.get("/metrics", headers=as_role(catalog, "reader")).text
    samples = {
        sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["glacier_al_champion_version"] == 2
    assert samples["glacier_al_champion_mean_iou"] == 0.61
    shown = " ".join(load(client, catalog).text.split())
    assert "version 2 is served" in shown
    assert "2 champion learner 30 0.610 +0.050 0.700 – promoted: mean IoU changed by +0.050" in shown
    assert (samples["glacier_al_learner_version"], samples["glacier_al_learner_mean_iou"]) == (2, 0.61)


def test_mlflow_is_ready(client: FlaskClient, catalog: Catalog) -> None:
    check_parts(catalog)
    RegistryWatcher(catalog).look()
    assert client.get("/readyz", headers=as_role(catalog, "reader")).json["parts"]["mlflow"] == "ok"


def test_what_is_not_mlflow_is_not_taken_for_it(settings: Settings, mlflow_server: str) -> None:
    astray = Catalog(settings.model_copy(update={"mlflow_url": f"{mlflow_server}/elsewhere"}))
    check_parts(astray)
    RegistryWatcher(astray).look()
    parts = create_app(astray).test_client().get("/readyz", headers=as_role(astray, "reader")).json["parts"]
    astray.close()
    assert "MLflow does not answer" in parts["mlflow"]


def test_roll_backs_go_further_back_each_time(api: Api, register: Callable[..., int]) -> None:
    """Also after a version was promoted that had been served before."""
    for _ in range(3):
        register()
    for version in (1, 2, 3, 2):
        api.promote(version)
    assert [api.roll_back()["version"] for _ in range(3)] == [3, 2, 1]
    assert_problem(api.post("/rollback"), 409, "no version was served before 1")


def test_a_promotion_that_mlflow_does_not_answer_waits_and_is_carried_out_once(
    api: Api, catalog: Catalog, register: Callable[..., int], settings: Settings, watcher: RegistryWatcher
) -> None:
    """The request is answered though MLflow hangs; the connection is cut after MLflow has moved the alias."""
    register()

    class Cut(ModelRegistry):
        def move_alias(self, alias: str, version: int) -> None:
            super().move_alias(alias, version)
            if alias == CHAMPION:
                raise ServiceDownError("MLflow", self.url, "cut")

    catalog.settings = settings.model_copy(update={"mlflow_url": NOBODY})
    asked = api.post("/1/promote")
    address = asked.headers["Location"].removeprefix(MODELS)
    assert asked.status_code == 202
    assert_problem(api.post("/1/promote"), 409, "request 1 of operator is being carried out")
    for registry in (registry_of(catalog.settings), Cut(settings.mlflow_url, settings.registered_model)):
        with pytest.raises(ServiceDownError):
            carry_out_requests(catalog, registry)
        told = api.get(address).json
        assert (told["state"], told["decision"]) == ("waiting", None)
        assert "MLflow does not answer" in told["fault"]
    catalog.settings = settings
    watcher.look()
    told = api.get(address).json
    assert (told["state"], told["fault"], told["decision"]["version"]) == ("done", None, 1)
    assert len(api.get("/decisions").json) == 1


def test_a_decision_that_could_not_be_carried_out_in_time_is_given_up(
    api: Api, catalog: Catalog, register: Callable[..., int], watcher: RegistryWatcher
) -> None:
    register()
    address = api.post("/1/promote").headers["Location"].removeprefix(MODELS)
    with catalog.database.write() as session:
        session.get_one(DecisionRequest, 1).requested_at = now() - GIVE_UP_AFTER - timedelta(seconds=1)
    watcher.look()
    told = api.get(address).json
    assert (told["state"], told["fault"]) == (
        "refused",
        "it could not be carried out in time: the clock did not run; ask again",
    )
    assert api.get("/decisions").json == []


def test_an_intent_that_was_left_behind_is_settled_by_what_mlflow_says(
    catalog: Catalog, register: Callable[..., int]
) -> None:
    """One process died after MLflow had moved the alias, another before."""
    registry = registry_of(catalog.settings)
    first, second = register(), register()
    long_ago = now() - timedelta(minutes=5)
    registry.move_alias(CHAMPION, first)
    with catalog.database.write() as session:
        for version in (first, second):
            intent = {"verdict": "promoted", "reason": "checked", "actor": "operator", "moves_learner": True}
            session.add(PromotionIntent(model_version=version, decided_at=long_ago, **intent))
    settle_intents(catalog, registry)
    with catalog.read() as session:
        (kept,) = session.scalars(select(Promotion))
        assert (kept.model_version, kept.decided_at) == (first, long_ago)
        assert session.scalars(select(PromotionIntent)).all() == []
        assert jobs.is_open(session, JobKind.SCORE_POOL)


def test_of_two_people_who_roll_back_at_once_one_does(
    api: Api, catalog: Catalog, register: Callable[..., int], settings: Settings
) -> None:
    """One asks after the other's request was carried out; another's is overtaken by a command before it is."""
    for version in (1, 2, 3):
        register()
        api.promote(version)
    body = {"reason": "looks worse", "from_version": 3}
    ask = partial(api.client.post, f"{MODELS}/rollback", json=body, headers=as_role(catalog, "operator"))
    asked = ask()
    assert (asked.status_code, asked.json["from_version"]) == (202, 3)
    roll_back(catalog, registry_of(settings), "looks worse", "a person", from_version=3)
    carry_out_requests(catalog, registry_of(settings))
    told = api.get(asked.headers["Location"].removeprefix(MODELS)).json
    fault = "version 2 is served now, and no longer version 3; look at it, then decide again"
    assert (told["state"], told["fault"]) == ("refused", fault)
    assert_problem(ask(), 409, fault)
    assert registry_of(settings).aliases() == {CHAMPION: 2, LEARNER: 2}
    body["from_version"] = 2
    assert ask().status_code == 202


def test_of_two_decisions_at_once_one_waits_for_the_other(
    api: Api, catalog: Catalog, register: Callable[..., int], settings: Settings, watcher: RegistryWatcher
) -> None:
    """The clock looks after the gate has moved the learner and before it moves the champion."""
    for _ in range(3):
        register()
    api.promote(1)
    address = api.post("/2/promote").headers["Location"].removeprefix(MODELS)
    seen: list[Any] = []

    class Watched(ModelRegistry):
        def move_alias(self, alias: str, version: int) -> None:
            super().move_alias(alias, version)
            if alias == LEARNER:
                watcher.look()
                seen.append(api.get(address).json)
                with pytest.raises(ConflictError, match=r"another decision is being carried out \(version 3, promoted"):
                    promote(catalog, registry_of(settings), 2, "better on Khumbu", "a person")

    apply_verdict(catalog, Watched(settings.mlflow_url, settings.registered_model), 3, "better", None, promoted=True)
    assert (seen[0]["state"], seen[0]["fault"].partition(" (")[0]) == (
        "waiting",
        "another decision is being carried out",
    )
    assert registry_of(settings).aliases() == {CHAMPION: 3, LEARNER: 3} == copied_aliases(catalog)
    watcher.look()
    assert api.get(address).json["state"] == "done"
    assert registry_of(settings).aliases() == {CHAMPION: 2, LEARNER: 2} == copied_aliases(catalog)
    told = [(item["version"], item["previous_version"], item["verdict"]) for item in api.get("/decisions").json]
    assert told == [(2, 3, "promoted"), (3, 1, "promoted"), (1, None, "promoted")]


def copied_aliases(catalog: Catalog) -> dict[str, int]:
    """Return the aliases of the local copy, from which requests are answered."""
    return RegistryCopy(catalog).aliases()


def test_a_decision_whose_premise_has_changed_is_not_carried_out(
    catalog: Catalog, register: Callable[..., int], settings: Settings
) -> None:
    registry = registry_of(settings)
    for _ in range(3):
        register()
    promote(catalog, registry, 1, "the first", "a person")
    judged = registry.aliases()
    promote(catalog, registry, 2, "better on Khumbu", "a person")
    with pytest.raises(ConflictError, match="the champion is version 2 since a moment ago, and was 1 when"):
        apply_verdict(catalog, registry, 3, "better", None, promoted=True, aliases=judged)
    assert registry.aliases() == {CHAMPION: 2, LEARNER: 2}
    with catalog.read() as session:
        assert session.scalars(select(PromotionIntent)).all() == []


def test_half_of_an_intent_is_undone(catalog: Catalog, register: Callable[..., int], watcher: RegistryWatcher) -> None:
    """A process died after it had moved the learner, and before the champion: nobody did that in MLflow's page."""
    registry = registry_of(catalog.settings)
    first, second = register(), register()
    apply_verdict(catalog, registry, first, "the first", None, promoted=True, move_learner=True)
    watcher.look()
    with catalog.database.write() as session:
        intent = {"verdict": "promoted", "reason": "checked", "actor": "gate", "moves_learner": True}
        session.add(PromotionIntent(model_version=second, decided_at=now() - timedelta(minutes=5), **intent))
    registry.move_alias(LEARNER, second)
    settle_intents(catalog, registry)
    watcher.look()
    assert registry.aliases() == {CHAMPION: first, LEARNER: first}
    with catalog.read() as session:
        assert [item.model_version for item in session.scalars(select(Promotion))] == [first]
        assert session.scalars(select(PromotionIntent)).all() == []


def test_a_promotion_whose_answer_got_lost_can_be_rolled_back(catalog: Catalog, register: Callable[..., int]) -> None:
    registry = registry_of(catalog.settings)
    first, second = register(), register()
    promote(catalog, registry, first, "the first", "operator")

    class Cut(ModelRegistry):
        """MLflow does what it is asked, and the connection is cut before it can say so."""

        def move_alias(self, alias: str, version: int) -> None:
            super().move_alias(alias, version)
            if alias == CHAMPION:
                raise ServiceDownError("MLflow", self.url, "cut")

    with pytest.raises(ServiceDownError):
        promote(catalog, Cut(registry.url, registry.model_name), second, "checked", "operator")
    assert roll_back(catalog, registry_of(catalog.settings), "wrong", "operator").model_version == first


def test_a_promotion_that_did_not_reach_mlflow_is_no_version_to_roll_back_to(
    catalog: Catalog, register: Callable[..., int]
) -> None:
    registry = registry_of(catalog.settings)
    first, second = register(), register()
    promote(catalog, registry, first, "the first", "operator")

    class Unreachable(ModelRegistry):
        """MLflow goes down between two calls."""

        def move_alias(self, alias: str, version: int) -> None:
            raise ServiceDownError("MLflow", self.url, "no connection")

    with pytest.raises(ServiceDownError):
        promote(catalog, Unreachable(registry.url, registry.model_name), second, "checked", "operator")
    with pytest.raises(ConflictError, match="no version was served before 1"):
        roll_back(catalog, registry, "wrong", "operator")


def test_a_list_that_is_cut_says_where_it_goes_on(api: Api, register: Callable[..., int]) -> None:
    for _ in range(3):
        register()
    first = api.get("?limit=2")
    assert [item["version"] for item in first.json] == [3, 2]
    assert first.headers["Link"] == '</api/v1/models?limit=2&before=2>; rel="next"'
    rest = api.get("?limit=2&before=2")
    assert [item["version"] for item in rest.json] == [1]
    assert "Link" not in rest.headers
    newest = api.get("/tracks?limit=2")
    assert [item["version"] for item in newest.json] == [2, 3]
    assert newest.headers["Link"] == '</api/v1/models/tracks?limit=2&before=2>; rel="next"'
    assert "Link" not in api.get("/tracks?limit=2&before=2").headers


def test_a_tag_edited_by_hand_in_mlflow_breaks_no_page(
    api: Api, client: FlaskClient, catalog: Catalog, register: Callable[..., int]
) -> None:
    """Someone wrote a decimal comma: that figure is unknown and said to be, everything else is shown."""
    version = register(**{**FIGURES, "validation__mean_iou": "0,71"})
    api.promote(version)
    listed = api.get(f"/{version}").json
    assert listed["iou"]["validation"]["mean"] is None
    assert listed["iou"]["validation"]["clean ice"] == 0.7
    assert "'validation.mean_iou' in MLflow holds '0,71'" in listed["faults"][0]
    assert client.get("/", headers=as_role(catalog, "reader")).status_code == 200
    metrics = client.get("/metrics", headers=as_role(catalog, "reader")).text
    assert f"glacier_al_champion_version {version}.0" in metrics
    assert "glacier_al_champion_mean_iou" not in metrics
