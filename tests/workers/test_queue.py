"""Real RQ workers in processes of their own, as `glacier-al up` starts them."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from redis import Redis
from rq import Queue, Worker, worker_registration
from rq.serializers import JSONSerializer

from catalog import jobs
from catalog.context import Catalog
from catalog.job_queue import QUEUES
from catalog.records import Job, JobKind, JobState, Scene, SceneState
from tests.imagery.forge import NORTH_UP, forge_scene, write_geotiff
from tests.real_services import has_ended, running
from tests.workers.rows import register
from workers.forking_worker import ForkingWorker
from workers.main import NICENESS

WAIT_S = 60


def job_of(catalog: Catalog) -> Job:
    with catalog.read() as session:
        return session.query(Job).one()


def wait_for(done, log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "workers.main", "io", *arguments]


@pytest.fixture
def tiling(catalog: Catalog, tmp_path) -> Job:
    """A scene that is registered and waits in Redis to be tiled."""
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"), outlines=False)
    with catalog.write() as session:
        return jobs.enqueue(session, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)


def test_a_worker_does_what_a_row_says(catalog, tiling, tmp_path):
    log = tmp_path / "worker.log"
    with running(command("--burst"), catalog.settings.as_environment(), log=log) as process:
        assert process.wait(WAIT_S) == 0, log.read_text()
    with catalog.read() as session:
        assert session.get_one(Job, tiling.id).state is JobState.FINISHED, log.read_text()
        assert session.get_one(Scene, tiling.subject["scene_id"]).state is SceneState.READY


def test_an_io_worker_never_loads_torch(catalog, tiling, tmp_path):
    log = tmp_path / "worker.log"
    with running(command(), catalog.settings.as_environment(), log=log) as process:
        wait_for(lambda: state_of(catalog, tiling) is JobState.FINISHED, log)
        loaded = {Path(item.path).name for item in psutil.Process(process.pid).memory_maps()}
    assert not {name for name in loaded if name.startswith("libtorch")}


def test_nothing_waits_for_a_job_that_reads_the_whole_store(catalog, tiling, tmp_path):
    log = tmp_path / "worker.log"
    with catalog.write() as session:
        check = jobs.enqueue(session, JobKind.CHECK_INSTALLATION, fix=False, by="olga")
    with running(command(), catalog.settings.as_environment(), log=log):
        wait_for(lambda: state_of(catalog, tiling) is JobState.FINISHED, log)
        assert state_of(catalog, check) is JobState.QUEUED
    with running([sys.executable, "-m", "workers.main", "upkeep"], catalog.settings.as_environment(), log=log):
        wait_for(lambda: state_of(catalog, check) is JobState.FINISHED, log)


@pytest.mark.parametrize("queue", QUEUES)
def test_workers_leave_the_processor_to_the_api(catalog, tmp_path, queue):
    log, ours = tmp_path / "worker.log", os.getpriority(os.PRIO_PROCESS, 0)
    with running([sys.executable, "-m", "workers.main", queue], catalog.settings.as_environment(), log=log) as process:
        wait_for(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) > ours or process.poll(), log)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, ours + NICENESS[queue])


def test_a_running_worker_keeps_its_settings_when_the_file_is_edited(catalog, tmp_path):
    log, given = tmp_path / "worker.log", catalog.settings
    file = tmp_path / "config.toml"
    file.write_text(
        f'database_url = "{given.database_url}"\nredis_url = "{given.redis_url}"\npatch_size_px = 64\n',
        encoding="utf-8",
    )
    with running(command(), {"GLACIER_AL_VAR_DIR": str(tmp_path)}, log=log) as process:
        wait_for(lambda: Worker.count(connection=catalog.queue.connection) or process.poll(), log)
        file.write_text("patch_size_px = ")
        scene_id = register(catalog, forge_scene(tmp_path / "a.tif"), outlines=False)
        with catalog.write() as session:
            job = jobs.enqueue(session, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)
        wait_for(lambda: state_of(catalog, job) is JobState.FINISHED, log)


def state_of(catalog: Catalog, job: Job) -> JobState:
    with catalog.read() as session:
        return session.get_one(Job, job.id).state


@pytest.fixture
def large_tiling(catalog: Catalog, tmp_path) -> Job:
    """A scene so large that its tiling is caught in the middle."""
    path = tmp_path / "large.tif"
    write_geotiff(path, np.ones((4, 3000, 3000), np.uint8), transform=NORTH_UP, descriptions=["a", "b", "c", "d"])
    forged = forge_scene(tmp_path / "a.tif")
    bands = tuple(type(band)(band.name, str(path), band.index) for band in forged.bands)
    scene_id = register(catalog, type(forged)(path, bands, forged.grid, forged.truth, ()), outlines=False)
    with catalog.write() as session:
        return jobs.enqueue(session, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)


def test_a_killed_process_gives_its_job_back_at_once(catalog, large_tiling, tmp_path):
    log = tmp_path / "worker.log"
    with running(command(), catalog.settings.as_environment(), log=log) as process:
        wait_for(lambda: state_of(catalog, large_tiling) is JobState.RUNNING, log)
        (horse,) = psutil.Process(process.pid).children()
        killed_at = time.monotonic()
        os.kill(horse.pid, signal.SIGKILL)
        wait_for(lambda: state_of(catalog, large_tiling) is JobState.QUEUED, log)
        took_s = time.monotonic() - killed_at
    with catalog.read() as session:
        back = session.get_one(Job, large_tiling.id)
        assert session.get_one(Scene, large_tiling.subject["scene_id"]).state is SceneState.REGISTERED
    assert (back.error, back.failures, back.attempt) == ("its process was killed", 1, 1)
    assert took_s < 5  # not the 60 s after which a silent heart is noticed


def test_redis_holds_ids_only(catalog, tiling):
    with Redis.from_url(catalog.settings.redis_url) as connection:
        (queued,) = Queue("io", connection=connection, serializer=JSONSerializer).get_jobs()
        assert (queued.func_name, queued.args, queued.kwargs) == ("workers.jobs.run", [tiling.id], {})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_a_killed_worker_takes_its_job_along(catalog, large_tiling, tmp_path):
    log = tmp_path / "worker.log"
    with running(command(), catalog.settings.as_environment(), log=log) as process:
        wait_for(lambda: state_of(catalog, large_tiling) is JobState.RUNNING, log)
        (horse,) = psutil.Process(process.pid).children()
        process.kill()
        wait_for(lambda: has_ended(horse), log)
    assert state_of(catalog, large_tiling) is JobState.RUNNING  # until its heart has been silent for long enough


def test_a_worker_registers_again_when_redis_has_lost_everything(redis_server):
    with Redis.from_url(redis_server.replace("/0", "/2")) as connection:
        queue = Queue("io", connection=connection)
        worker = ForkingWorker([queue], connection=connection)
        worker.register_birth()
        connection.flushdb()
        assert Worker.count(queue=queue) == 0
        worker.set_state("idle")  # which alone would leave a worker without a birth date
        worker.heartbeat()
        (found,) = Worker.all(queue=queue)
        assert (found.name, found.birth_date) == (worker.name, worker.birth_date)
        connection.flushdb()


def test_a_worker_that_others_took_for_dead_is_listed_again(redis_server):
    """Redis's clock was set ahead, its key had expired, and another worker cleaned up just after it had come back."""
    with Redis.from_url(redis_server.replace("/0", "/2")) as connection:
        queue = Queue("io", connection=connection)
        worker = ForkingWorker([queue], connection=connection)
        worker.register_birth()
        worker_registration.unregister(worker)
        assert Worker.count(queue=queue) == 0
        worker.heartbeat()
        assert Worker.count(queue=queue) == 1
        connection.flushdb()
