"""A system with one large scene in its pool and a champion to score it, for benchmarks."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from catalog import jobs
from catalog.bundle_cache import checksum_tag
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.records import JobKind, Scene, SceneRole
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from cli.plan import Process, plan, redis_config, redis_config_file
from cli.ports import choose_ports
from imagery.channels import CHANNEL_SETS
from imagery.classes import CLASSES
from imagery.describe_scene import describe
from imagery.synthetic import write_scene
from models.bundle import write_bundle
from models.card import LabelProvenance, ModelOrigin
from models.heads import head_classes
from models.presets import PRESETS
from models.segmenter import build_segmenter
from models.training import TrainingConfig
from services.promotion import promote
from workers.jobs import Work
from workers.tile_scene import tile_scene

CHANNELS: Final = CHANNEL_SETS["baraka"]
PATCH_SIZE_PX: Final = 512
TIMEOUT_S: Final = 600


def new_catalog(folder: Path) -> Catalog:
    """Make a catalog with all its data in a folder, and ports that are free."""
    settings = Settings(var_dir=folder)
    secrets = Catalog(settings).secrets
    catalog = Catalog(choose_ports(settings, secrets.redis_password, lambda _: None))
    catalog.database.migrate()
    return catalog


def add_pool(catalog: Catalog, size_px: int) -> int:
    """Register and tile a synthetic scene with the 15 channels of Baraka; return its id."""
    forged = write_scene(catalog.settings.scene_root / "synthetic", size_px, size_px, seed=0)
    source = describe(forged.bands, dem=forged.dem)
    scene = Scene(
        name="synthetic",
        role=SceneRole.POOL,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[],
        patch_size_px=PATCH_SIZE_PX,
        patch_overlap_px=0,
    )
    with catalog.database.write() as session:
        session.add(scene)
        session.flush()
        job = jobs.claim(session, jobs.enqueue(session, JobKind.TILE_SCENE, str(scene.id), scene_id=scene.id).id)
    if job is None:
        raise RuntimeError("the job that tiles the scene was taken by somebody else")
    tile_scene(Work(catalog, job), scene.id)
    with catalog.database.write() as session:
        jobs.finish(session, job.id, job.attempt)
    return scene.id


def write_champion(folder: Path) -> None:
    """Write a bundle of Baraka's U-Net with fresh weights: speed does not depend on what it has learnt."""
    preset = PRESETS["baraka"]
    shape = preset.network(len(CHANNELS), len(CLASSES), preset.head)
    segmenter = build_segmenter(CHANNELS, [0.0] * len(CHANNELS), [1.0] * len(CHANNELS), shape, 0, preset.head)
    origin = ModelOrigin(
        classes=head_classes(preset.head, [item.name for item in CLASSES]),
        patch_size_px=PATCH_SIZE_PX,
        parent_version=None,
        labels=LabelProvenance(ids=(), count=0, simulated_count=0, sha256="0" * 64),
        training=TrainingConfig(steps=1),
        code_version="benchmark",
        evaluation={},
        metrics={},
        gain={},
        created_at=datetime.now(UTC),
    )
    write_bundle(folder, segmenter, origin)


def _checksums(bundle: Path) -> dict[str, str]:
    return {checksum_tag(file.name): hashlib.sha256(file.read_bytes()).hexdigest() for file in bundle.iterdir()}


@dataclass(frozen=True)
class Crew:
    """The compute workers of a scoring.

    Attributes:
        count: How many.
        threads: Of each.
        share: Of the pool, what all passes are spent on.
    """

    count: int
    threads: int
    share: float = 1.0


@dataclass(frozen=True)
class System:
    """Redis and MLflow, running, with a champion; workers are started when they are needed."""

    catalog: Catalog
    processes: dict[str, Process]

    @contextmanager
    def workers(self, crew: Crew, seed: int) -> Iterator[None]:
        """Run compute workers while the block lasts, ready for work.

        Args:
            crew: Who.
            seed: Of the masks: another one makes another scoring.
        """
        process = self.processes["worker-compute"]
        extra = {
            "GLACIER_AL_TORCH_THREADS": str(crew.threads),
            "GLACIER_AL_MC_SEED": str(seed),
            "GLACIER_AL_MC_SHORTLIST_SHARE": str(crew.share),
        }
        with ExitStack() as stack:
            for _ in range(crew.count):
                stack.enter_context(_running(process, extra))
            wait(lambda: self.catalog.queue.workers()["compute"] == crew.count, "the workers")
            yield
        wait(lambda: self.catalog.queue.workers()["compute"] == 0, "the end of the workers")


@contextmanager
def system(folder: Path) -> Iterator[System]:
    """Start Redis and MLflow, and register a champion."""
    catalog = new_catalog(folder)
    secrets, settings = catalog.secrets, catalog.settings
    listed = plan(settings, secrets, label_studio_program=Path("unused"), environ=os.environ, cwd=Path.cwd())
    processes = {process.name: process for process in listed}
    for name in ("redis", "mlflow"):
        processes[name].cwd.mkdir(parents=True, exist_ok=True)
    redis_config_file(settings).write_text(redis_config(settings))
    with _running(processes["redis"], {}), _running(processes["mlflow"], {}):
        registry = registry_of(settings)
        wait(lambda: _answers(registry.versions), "MLflow")
        with tempfile.TemporaryDirectory() as bundle:
            write_champion(Path(bundle))
            tracking = Tracking(settings.mlflow_url, settings.experiment, settings.registered_model)
            run_id = tracking.start_run("champion", {}, {})
            version = tracking.register(run_id, Path(bundle), _checksums(Path(bundle)), "for a benchmark")
            tracking.end_run(run_id, "FINISHED")
        promote(catalog, registry, version, "the only one", "benchmark")
        yield System(catalog, processes)
    catalog.close()


@contextmanager
def _running(process: Process, extra: dict[str, str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            process.argv, env={**process.env, **extra}, cwd=process.cwd, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            child.terminate()
            child.wait()


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except ServiceDownError:
        return False
    return True


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {TIMEOUT_S} s")
        time.sleep(0.05)
