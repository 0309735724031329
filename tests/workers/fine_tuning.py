"""A system with labels and an MLflow of its own, in which fine-tunes run, and what became of them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from sqlalchemy import select

from catalog import jobs, labels
from catalog.context import Catalog
from catalog.records import Job, JobKind, Patch, RunState, Scene, SceneRole, TrainingRun
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import add_round, label_of
from tests.real_services import HOST, free_port, running, wait_for_http
from tests.workers.rows import patches, tiled
from workers.jobs import perform

TRIGGER = "by hand"


class MlflowServer:
    """A tracking server that can be stopped and started again where it was."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._folder = folder
        self._stack = ExitStack()

    def start(self) -> None:
        log = self._folder / "mlflow.log"
        arguments = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port)]
        arguments += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        arguments += ["--artifacts-destination", (self._folder / "artifacts").as_uri(), "--serve-artifacts"]
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        wait_for_http(f"{self.url}/health", self._stack.enter_context(running(arguments, environment, log=log)), log)

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("own-mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(settings: Settings, mlflow: MlflowServer, tmp_path: Path) -> Settings:
    return Settings(
        **{
            **settings.model_dump(),
            "mlflow_url": mlflow.url,
            "registered_model": tmp_path.name,  # a registry and an experiment for each test
            "experiment": tmp_path.name,
            "unet_depth": 2,
            "unet_width": 4,
            "fine_tune_steps": 6,
            "fine_tune_batch_size": 2,
            "gate_margin": 1.0,
            "gate_class_margin": 1.0,
            "torch_threads": 1,
        }
    )


@pytest.fixture
def labelled(catalog: Catalog, tmp_path: Path) -> Catalog:
    """A catalog with a validation scene and four labelled patches of a pool scene."""
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    scene, forged = tiled(catalog, tmp_path / "pool.tif")
    chosen = patches(catalog, scene.id)[5:9]
    answer(catalog, scene, {patch: forged.truth[window_of(patch).slices] for patch in chosen})
    return catalog


def answer(catalog: Catalog, scene: Scene, masks: Mapping[Patch, np.ndarray], first: int = 1) -> None:
    """Propose patches of a scene, and label them with masks; tasks and annotations are numbered from ``first``."""
    store = raster_store(catalog)
    with catalog.database.write() as session:
        _, proposals = add_round(session, [session.get_one(Patch, patch.id) for patch in masks], first_task=first)
        for number, ((patch, mask), proposal) in enumerate(zip(masks.items(), proposals, strict=True), start=first):
            label = label_of(session, proposal, number)
            label.mask_key = raster_keys.label(patch.id, number, label.event_id)
            data = mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window_of(patch))
            label.mask_sha256 = store.put(label.mask_key, data)
            labels.store(session, label)


def fine_tune(catalog: Catalog) -> Job:
    """Do one attempt of a fine-tune here; return its row."""
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger=TRIGGER).id)
    assert job is not None
    perform(catalog, job)
    return row(catalog, job.id)


def row(catalog: Catalog, job_id: str) -> Job:
    with catalog.read() as session:
        return session.get_one(Job, job_id)


def runs(catalog: Catalog) -> list[TrainingRun]:
    with catalog.read() as session:
        return list(session.scalars(select(TrainingRun).order_by(TrainingRun.id)))


def mlflow_status(catalog: Catalog, run: TrainingRun) -> str:
    client = MlflowClient(tracking_uri=catalog.settings.mlflow_url)
    return str(client.get_run(run.mlflow_run_id).info.status)


def changed(catalog: Catalog, **changes: object) -> Settings:
    return Settings(**{**catalog.settings.model_dump(), **changes})


def reopen(catalog: Catalog, run: TrainingRun) -> None:
    """Make a run look as if its worker had died after registering the version."""
    with catalog.database.write() as session:
        session.get_one(TrainingRun, run.id).state = RunState.OPEN
