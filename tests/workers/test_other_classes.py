"""Two rounds of the loop with other classes than glaciers', every part real but the annotator's hand.

Snow has the value 1 and wins over water, which has the value 2: the order of values decides nothing.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from rasterio.io import MemoryFile
from sqlalchemy import select

from al_server.app import create_app
from catalog import jobs, training
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.installation import find_installation
from catalog.records import Job, JobKind, JobState, Label, Patch, Proposal, Scene, SceneRole
from catalog.registry import registry_of
from catalog.secrets import Secrets
from catalog.settings import Settings, Strategy
from cli.simulated_annotator import SimulatedAnnotator, sign_in
from imagery.masks import mask_from_geotiff
from labeling.client import LabelStudio
from services import raster_keys
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.registration import check, register
from services.rounds import open_round
from services.scene_files import AnyFile
from services.scene_request import OutlineRequest, SceneRequest
from services.scenes import window_of
from tests.catalog_fixtures import as_role
from tests.imagery.forge import ForgedScene, forge_scene
from tests.land_cover import LAND_COVER, SETTING
from tests.real_services import LabelStudioServer, free_port
from workers.jobs import perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUND_SIZE = 6


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, mlflow_server: str, label_studio: LabelStudioServer) -> Settings:
    secrets = Secrets(
        label_studio_email=label_studio.email,
        label_studio_password=label_studio.password,
        label_studio_token=label_studio.token,
    )
    settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
    return Settings(
        **{
            **settings.model_dump(),
            "api_url": f"http://127.0.0.1:{free_port()}",
            "mlflow_url": mlflow_server,
            "registered_model": tmp_path.name,
            "experiment": tmp_path.name,
            "label_studio_url": label_studio.url,
            "label_studio_project": "Land cover",
            "class_scheme": SETTING,
            "head": "two_binaries",
            "unet_depth": 2,
            "unet_width": 8,
            "fine_tune_steps": 60,
            "fine_tune_after_labels": ROUND_SIZE,
            "gate_margin": 1.0,
            "gate_class_margin": 1.0,
            "mc_passes": 4,
            "torch_threads": 1,
        }
    )


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    """The scene of the pool; its two outlines overlap in rows 60 to 69 and columns 50 to 89."""
    return forge_scene(tmp_path / "pool.tif")


@pytest.fixture
def annotator(catalog: Catalog, label_studio: LabelStudioServer) -> Iterator[LabelStudio]:
    administrator = LabelStudio(label_studio.url, label_studio.token)
    return sign_in(administrator, label_studio.url, "land@cover.example", "land and water")


def request(scene: ForgedScene, role: SceneRole) -> SceneRequest:
    layers = {"clean ice": "snow", "debris-covered ice": "water"}
    outlines = [
        OutlineRequest.model_validate({"path": item.path, "layer": item.layer, "class": layers[item.class_name]})
        for item in scene.outlines
    ]
    return SceneRequest(name=f"{role.value}-scene", role=role, path=str(scene.path), outlines=outlines)


def do_all_jobs(catalog: Catalog) -> None:
    """Do the work of all workers, here and one job after another."""
    while True:
        with catalog.write() as session:
            training.enqueue_if_due(session, catalog.settings)  # as the clock does
            waiting = jobs.due(session)
            job = jobs.claim(session, waiting[0].id) if waiting else None
        if job is None:
            break

        perform(catalog, job)
    with catalog.read() as session:
        failed = session.scalars(select(Job).where(Job.state == JobState.FAILED)).all()
    assert [(job.kind.value, job.error) for job in failed] == []


def do_round(catalog: Catalog, studio: LabelStudio, strategy: Strategy, truth: np.ndarray) -> list[Proposal]:
    """Open and publish a round, answer all of its tasks with the truth, and do what follows; return its proposals."""
    with catalog.write() as session:
        round_id = open_round(session, catalog.settings, strategy, ROUND_SIZE).id
    do_all_jobs(catalog)
    with catalog.read() as session:
        proposals = list(session.scalars(select(Proposal).where(Proposal.round_id == round_id)))
        windows = {patch.id: window_of(patch) for patch in session.scalars(select(Patch))}
    published = list(proposals)
    SimulatedAnnotator(studio, proposals[0].project_id, truth, windows, LAND_COVER).label_all()
    with catalog.write() as session:
        jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
    do_all_jobs(catalog)
    return published


def test_two_rounds_of_water_and_snow(
    catalog: Catalog, forged: ForgedScene, annotator: LabelStudio, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    validation = forge_scene(tmp_path / "validation.tif", offset_px=400)
    pool, judged = (
        register(catalog, check(catalog, request(scene, role), AnyFile()))[0]
        for scene, role in ((forged, SceneRole.POOL), (validation, SceneRole.VALIDATION))
    )
    do_all_jobs(catalog)
    store = raster_store(catalog)

    # What is stored, and the burnt outlines: snow over water, whatever the values.
    with catalog.read() as session:
        assert find_installation(session).class_scheme == LAND_COVER.model_dump(mode="json")
    truth = mask_from_geotiff(store.get(raster_keys.truth(pool.id)), LAND_COVER)
    expected = forged.truth.copy()
    expected[60:70, 50:90] = 1
    np.testing.assert_array_equal(truth, expected)

    first = do_round(catalog, annotator, Strategy.RANDOM, truth)
    second = do_round(catalog, annotator, Strategy.ENTROPY_TOP10, truth)
    _check_label_studio(catalog, first, second)
    _check_labels(catalog, truth)
    _check_model(catalog, judged.id)
    _check_pages(catalog)
    _check_contradicting_setting(catalog, forged)


def _check_label_studio(catalog: Catalog, first: list[Proposal], second: list[Proposal]) -> None:
    studio = LabelStudio(catalog.settings.label_studio_url, catalog.secrets.label_studio_token)
    project = studio._sdk.projects.get(first[0].project_id)
    assert project.expert_instruction.startswith("Outline <b>snow</b> and <b>water</b>")
    assert "taken as <b>other</b>" in project.expert_instruction
    for name, colour in (("snow", "#f0f0ff"), ("water", "#1d4ed8"), ("cloud", "#aaaaaa")):
        assert f'<Label value="{name}" background="{colour}"' in project.label_config
    assert re.search(r"\bice\b", project.label_config) is None  # but "Choices"
    drawn = [
        region["value"]["brushlabels"][0]
        for proposal in second
        for prediction in studio._sdk.tasks.get(str(proposal.task_id)).predictions
        for region in prediction.result
    ]
    assert drawn and set(drawn) <= {"snow", "water"}
    assert {proposal.expected_edits["model_version"] for proposal in second} == {1}
    assert {proposal.preannotated_by for proposal in second} <= {1, None}


def _check_labels(catalog: Catalog, truth: np.ndarray) -> None:
    with catalog.read() as session:
        rows = session.execute(select(Label, Patch).join(Patch)).all()
    assert len(rows) == 2 * ROUND_SIZE
    for label, patch in rows:
        mask = mask_from_geotiff(raster_store(catalog).get(label.mask_key), LAND_COVER)
        np.testing.assert_array_equal(mask, truth[window_of(patch).slices])


def _check_model(catalog: Catalog, scene_id: int) -> None:
    """The second version was fine-tuned from the first; its card, its map and its outlines name these classes."""
    registry = registry_of(catalog.settings)
    card: dict[str, Any] = json.loads(registry.artifact(registry.get(2), "card.json"))
    assert (card["parent_version"], card["head"], card["classes"]) == (1, "two_binaries", ["other", "snow", "water"])
    assert [(item["name"], item["value"], item["precedence"]) for item in card["label_classes"]] == [
        ("other", 0, 0),
        ("snow", 1, 9),
        ("water", 2, 4),
    ]
    with catalog.write() as session:
        jobs.enqueue(session, JobKind.PREDICT_SCENE, str(scene_id), scene_id=scene_id)
    do_all_jobs(catalog)
    store = raster_store(catalog)
    with catalog.read() as session:
        keys = prediction_keys(session.get_one(Scene, scene_id), 2, delivery_options(catalog.settings))
    features = json.loads(store.get(keys["geojson"]))["features"]
    assert {feature["properties"]["class"] for feature in features} == {"snow", "water"}
    outlines = catalog.settings.var_dir / "outlines.gpkg"
    outlines.write_bytes(store.get(keys["gpkg"]))
    assert pyogrio.list_layers(outlines)[:, 0].tolist() == ["water_or_snow_outlines", "layer_styles"]
    with MemoryFile(store.get(keys["tif"])) as file, file.open() as raster:
        assert raster.descriptions == ("0 other, 1 snow, 2 water, 255 cloud",)
        assert raster.colormap(1)[2][:3] == (0x1D, 0x4E, 0xD8)


def _check_pages(catalog: Catalog) -> None:
    client, reader = create_app(catalog).test_client(), as_role(catalog, "reader")
    newest, _ = client.get("/api/v1/models", headers=reader).get_json()
    assert set(newest["iou"]["validation"]) == {"mean", "other", "snow", "water"}
    assert newest["iou"]["validation"]["mean"] > 0.5
    page = client.get("/", headers=as_role(catalog, "operator")).get_data(as_text=True)
    assert '<th class="n">snow</th><th class="n">water</th>' in page
    assert "clean ice" not in page


def _check_contradicting_setting(catalog: Catalog, forged: ForgedScene) -> None:
    catalog.settings = catalog.settings.model_copy(update={"class_scheme": {**SETTING, "foreground": "wet"}})
    with pytest.raises(ConflictError, match=r"together wet .*but this installation was begun with other .*water or sn"):
        check(catalog, request(forged, SceneRole.TEST), AnyFile())
    with catalog.read() as session:
        assert session.scalars(select(Scene.role)).all() == [SceneRole.POOL, SceneRole.VALIDATION]
