"""Parts of the system for benchmarks, and one with a large scene in its pool and a champion to score it."""

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
from typing import Any, Final

from catalog import jobs
from catalog.bundle_cache import checksum_tag
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.mlflow_log_in import log_in_of
from catalog.records import JobKind, Scene, SceneRole
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from cli.plan import Process, plan, redis_config, redis_config_file
from cli.ports import choose_ports
from imagery.channels import CHANNEL_SETS
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.synthetic import write_scene
from imagery.units import DIGITAL_NUMBER
from models.bundle import write_bundle
from models.card import LabelProvenance, ModelOrigin
from models.heads import head_classes
from models.input_channels import InputChannel
from models.presets import PRESETS
from models.segmenter import build_segmenter
from models.training_config import TrainingConfig
from services.promotion import promote
from workers.jobs import JobContext
from workers.label_classes import card_classes
from workers.tile_scene import tile_scene

CHANNELS: Final = CHANNEL_SETS["baraka"]
PATCH_SIZE_PX: Final = 512
TIMEOUT_S: Final = 600
MLFLOW_CHECK_S: Final = 2.0


def new_catalog(folder: Path, **settings_changed: Any) -> Catalog:
    """Return a catalog with all its data in a folder, and with free ports."""
    settings = Settings(var_dir=folder, **settings_changed)
    secrets = Catalog(settings).secrets
    catalog = Catalog(choose_ports(settings, secrets.redis_password, lambda _: None))
    catalog.database.migrate()
    return catalog


def add_pool(catalog: Catalog, size_px: int) -> int:
    """Register and tile a synthetic scene with the 15 channels of Baraka; return its id."""
    synthetic = write_scene(catalog.settings.scene_root / "synthetic", size_px, size_px, seed=0)
    source = describe(synthetic.bands, dem=synthetic.dem)
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
    tile_scene(JobContext(catalog, job), scene.id)
    with catalog.database.write() as session:
        jobs.finish(session, job.id, job.attempt)
    return scene.id


def write_champion(folder: Path) -> None:
    """Write a bundle of Baraka's U-Net with fresh weights: its speed does not depend on training."""
    preset = PRESETS["baraka"]
    shape = preset.network(len(CHANNELS), len(GLACIER_SCHEME.classes), preset.head)
    segmenter = build_segmenter(CHANNELS, [0.0] * len(CHANNELS), [1.0] * len(CHANNELS), shape, 0, preset.head)
    origin = ModelOrigin(
        classes=head_classes(preset.head, GLACIER_SCHEME.names, GLACIER_SCHEME.foreground),
        label_classes=card_classes(GLACIER_SCHEME),
        patch_size_px=PATCH_SIZE_PX,
        input_channels=tuple(InputChannel(name=name, unit=DIGITAL_NUMBER) for name in CHANNELS),
        levels=(),
        sensors=(),
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
class ComputeWorkers:
    """The compute workers of a scoring.

    Attributes:
        count: Number of workers.
        threads: Threads of each worker.
        share: Share of the pool that gets all passes; 1 for no screening pass.
    """

    count: int
    threads: int
    share: float = 1.0


@dataclass(frozen=True)
class System:
    """A running part of the system; workers are started when they are needed.

    Attributes:
        catalog: Its catalog.
        processes: All processes of the system by name, whether they run or not.
    """

    catalog: Catalog
    processes: dict[str, Process]

    @contextmanager
    def workers(self, wanted: ComputeWorkers, seed: int) -> Iterator[None]:
        """Run compute workers while the block lasts, from when all of them wait for jobs.

        Args:
            wanted: The workers.
            seed: Seed of the dropout masks; another seed makes another scoring.
        """
        process = self.processes["worker-compute"]
        extra = {
            "GLACIER_AL_TORCH_THREADS": str(wanted.threads),
            "GLACIER_AL_MC_SEED": str(seed),
            "GLACIER_AL_MC_SHORTLIST_SHARE": str(wanted.share),
        }
        with ExitStack() as stack:
            for _ in range(wanted.count):
                stack.enter_context(running_process(process, extra))
            wait(lambda: self.catalog.queue.workers()["compute"] == wanted.count, "the workers")
            yield
        wait(lambda: self.catalog.queue.workers()["compute"] == 0, "the end of the workers")


@contextmanager
def services(folder: Path, *names: str, **settings_changed: Any) -> Iterator[System]:
    """Run some processes of the system, with their data in a folder, while the block lasts."""
    catalog = new_catalog(folder, **settings_changed)
    settings = catalog.settings
    listed = plan(settings, catalog.secrets, label_studio_program=Path("unused"), environ=os.environ, cwd=Path.cwd())
    processes = {process.name: process for process in listed}
    with ExitStack() as stack:
        for name in names:
            processes[name].cwd.mkdir(parents=True, exist_ok=True)
            if name == "redis":
                redis_config_file(settings).write_text(redis_config(settings))
            stack.enter_context(running_process(processes[name], {}))
        yield System(catalog, processes)
    catalog.close()


@contextmanager
def system(folder: Path) -> Iterator[System]:
    """Start Redis and MLflow, and register a champion."""
    with services(folder, "redis", "mlflow") as running:
        settings = running.catalog.settings
        registry = registry_of(settings)
        wait(lambda: _answers(lambda: registry.check(MLFLOW_CHECK_S)), "MLflow")
        with tempfile.TemporaryDirectory() as bundle:
            write_champion(Path(bundle))
            tracking = Tracking(
                settings.mlflow_url, settings.experiment, settings.registered_model, log_in=log_in_of(settings)
            )
            run_id = tracking.start_run("champion", {}, {})
            version = tracking.register(run_id, Path(bundle), _checksums(Path(bundle)), "for a benchmark")
            tracking.end_run(run_id, "FINISHED")
        promote(running.catalog, registry, version, "the only one", "benchmark")
        yield running


@contextmanager
def running_process(process: Process, extra: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the system, with more variables in its environment, while the block lasts."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            process.argv, env={**process.env, **extra}, cwd=process.cwd, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield child
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
    """Wait until a condition holds.

    Raises:
        RuntimeError: It does not hold within `TIMEOUT_S`; the message names what was waited for.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {TIMEOUT_S} s")
        time.sleep(0.05)
