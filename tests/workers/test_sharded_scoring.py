"""A scoring shared by real workers: how the shards come together, and what a killed one costs."""

import hashlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import func, select

from catalog import jobs, scorings
from catalog.bundle_cache import checksum_tag
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneRole, Score, Shard, ShardKind
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.sharding import SCREENED_MEASURES
from catalog.tracking import Tracking
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_source import BandSource
from models.bundle import write_bundle
from models.measures import MEASURES
from models.segmenter import build_segmenter
from models.unet import UNetConfig
from services import raster_keys
from services.places import raster_store
from services.promotion import promote
from tests.imagery.forge import BAND_NAMES, NORTH_UP, write_geotiff
from tests.models.cards import origin
from tests.real_services import running
from tests.workers.rows import MEAN, STD, context_of
from workers.tile_scene import tile_scene

pytestmark = pytest.mark.slow

SIDE = 3072  # cut into four shards of nine patches
PATCH = 512
WAIT_S = 180


@pytest.fixture
def settings(settings: Settings, mlflow_server: str, tmp_path: Path) -> Settings:
    changes = {"mlflow_url": mlflow_server, "registered_model": tmp_path.name, "torch_threads": 1, "mc_passes": 12}
    return settings.model_copy(update=changes)


@pytest.fixture
def champion(settings: Settings, tmp_path: Path) -> int:
    """The number of an untrained version that is served."""
    folder = tmp_path / "bundle"
    config = UNetConfig(in_channels=len(BAND_NAMES), depth=2, width=4)
    write_bundle(folder, build_segmenter(BAND_NAMES, MEAN, STD, config, 0, "multiclass"), origin(BAND_NAMES))
    tracking = Tracking(settings.mlflow_url, "tests", settings.registered_model)
    run_id = tracking.start_run("champion", {}, {})
    tags = {checksum_tag(file.name): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    version = tracking.register(run_id, folder, tags, "for a test")
    tracking.end_run(run_id, "FINISHED")
    opened = Catalog(settings)
    promote(opened, registry_of(settings), version, "the only one", "test")
    opened.close()
    return version


@pytest.fixture
def scene(catalog: Catalog, tmp_path: Path) -> int:
    """A scene of the pool, tiled."""
    path = tmp_path / "large.tif"
    pixels = np.random.default_rng(0).integers(1, 255, (4, SIDE, SIDE), dtype=np.uint8)
    write_geotiff(path, pixels, transform=NORTH_UP, descriptions=BAND_NAMES)
    source = describe([BandSource(name, str(path), index) for index, name in enumerate(BAND_NAMES, start=1)])
    row = Scene(name="large", role=SceneRole.POOL, source=source.to_json(), footprint={}, outlines=[])
    row.patch_size_px, row.patch_overlap_px = PATCH, 0
    with catalog.database.write() as session:
        session.add(row)
        session.flush()
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(row.id), scene_id=row.id), row.id)
    return row.id


@pytest.fixture
def workers(catalog: Catalog, champion: int, scene: int, tmp_path: Path) -> Iterator[list[int]]:
    """The process ids of two compute workers, who are given a scoring."""
    command = [sys.executable, "-m", "workers.main", "compute"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(running(command, catalog.settings.as_environment(), log=tmp_path / f"{number}.log"))
            for number in range(2)
        ]
        wait_for(lambda: catalog.queue.workers()["compute"] == 2)
        with catalog.write() as session:
            jobs.enqueue(session, JobKind.SCORE_POOL)
        wait_for(lambda: len(shard_jobs(catalog)) > 0)
        yield [process.pid for process in started]


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def shard_jobs(catalog: Catalog) -> list[Job]:
    with catalog.read() as session:
        statement = select(Job).where(Job.kind == JobKind.SCORE_SHARD).order_by(Job.created_at)
        return list(session.scalars(statement))


def is_complete_after_a_sweep(catalog: Catalog) -> bool:
    """Hand over jobs that are due, as the clock does, and look."""
    catalog.sweep()
    with catalog.read() as session:
        return scorings.newest(session) is not None


@pytest.fixture
def spend_all_passes(catalog: Catalog) -> None:
    """On every patch, before any worker starts."""
    catalog.settings = catalog.settings.model_copy(update={"mc_shortlist_share": 1.0})


@pytest.mark.usefixtures("workers")
def test_workers_share_the_shortlist_of_a_screening(catalog, scene):
    wait_for(lambda: is_complete_after_a_sweep(catalog))
    with catalog.read() as session:
        scoring = scorings.newest(session)
        screening, *finer = scorings.shards_of(session, scoring)
        shortlist = set(session.scalars(select(Score.patch_id).where(Score.screening.is_(False))))
        measures = Counter(session.scalars(select(Score.measure)))
        screened = Counter(session.scalars(select(Score.measure).where(Score.screening.is_(True))))
        assert scorings.progress(session, scoring) == scorings.Progress(1.0, 36, None)
    assert (screening.kind, screening.patch_count) == (ShardKind.SCREENING, 36)
    assert sum(shard.patch_count for shard in finer) == len(shortlist)
    assert 8 <= len(shortlist) <= 16  # a fifth by either entropy
    assert {name: 36 if name in SCREENED_MEASURES else len(shortlist) for name in MEASURES} == measures
    assert dict.fromkeys(SCREENED_MEASURES, 36 - len(shortlist)) == screened
    store = raster_store(catalog)
    entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene, "entropy")), Window(0, 0, SIDE, SIDE))
    assert np.isfinite(entropy).all()


@pytest.mark.usefixtures("spend_all_passes")
def test_workers_share_a_scene_and_a_killed_shard_alone_is_redone(catalog, workers, scene):
    wait_for(lambda: len(shard_jobs(catalog)) == 4)
    wait_for(lambda: sum(job.state is JobState.RUNNING and job.done > 0 for job in shard_jobs(catalog)) == 2)
    with catalog.read() as session:
        part = scorings.progress(session, session.scalars(select(Shard)).first().scoring)
    assert part.patches == 36
    assert 0 < part.done < 1
    assert part.eta_s > 0
    (horse,) = psutil.Process(workers[0]).children()
    os.kill(horse.pid, signal.SIGKILL)
    wait_for(lambda: is_complete_after_a_sweep(catalog))
    assert Counter(job.attempt for job in shard_jobs(catalog)) == {1: 3, 2: 1}
    with catalog.read() as session:
        scoring = scorings.newest(session)
        assert scorings.progress(session, scoring) == scorings.Progress(1.0, 36, None)
        assert session.scalar(select(func.count()).select_from(Score)) == 5 * 36  # five measures of 36 patches
        assert {shard.patch_count for shard in scorings.shards_of(session, scoring)} == {6, 12}
        windows = session.scalars(select(Patch).where(Patch.scene_id == scene)).all()
    store = raster_store(catalog)
    entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene, "entropy")), Window(0, 0, SIDE, SIDE))
    assert np.isfinite(entropy).all()
    # Parts of all shards, each in its place: the mean of a patch's map is its score.
    with catalog.read() as session:
        means = dict(session.execute(select(Score.patch_id, Score.value).where(Score.measure == "entropy_mean")).all())
    for patch in windows:
        rows, cols = slice(patch.row_off, patch.row_off + PATCH), slice(patch.col_off, patch.col_off + PATCH)
        assert entropy[rows, cols].mean() == pytest.approx(means[patch.id], rel=1e-4)
    assert not store.exists(raster_keys.scored_part(scoring.id, scene, "entropy", 0, 0))
