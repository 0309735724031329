"""Real RQ workers of one queue on PostgreSQL: sharing jobs, cancelling them, and stopping in the middle of one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from rq import Worker
from sqlalchemy import func, select

from catalog import failures, jobs
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneState
from imagery.scene_source import BandSource
from tests.imagery.forge import NORTH_UP, ForgedScene, forge_scene, write_geotiff
from tests.real_services import has_ended, running
from tests.workers.rows import register
from tests.workers.test_queue import command, wait_for

pytestmark = pytest.mark.slow

SMALL_PATCHES = 20  # of 32 px in a scene of 160 x 100 px
LARGE_PX = 4800  # 22,500 patches: seconds of work
SOON_S = 5.0  # well before the 60 s after which a job without a heartbeat is given to another worker


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    return postgresql_url


@dataclass(frozen=True)
class RunningWorker:
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def horse(self) -> psutil.Process:
        """The process in which the worker runs its job."""
        (horse,) = psutil.Process(self.process.pid).children()
        return horse


Start = Callable[[], RunningWorker]


@pytest.fixture
def start_worker(catalog: Catalog, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of the queue `io` and waits until it is there; all end with the test."""
    with ExitStack() as stack:

        def start() -> RunningWorker:
            before = count_workers(catalog)
            log = tmp_path / f"worker-{before}-{time.monotonic_ns()}.log"
            process = stack.enter_context(running(command(), catalog.settings.as_environment(), log=log))
            wait_for(lambda: count_workers(catalog) > before or process.poll() is not None, log)
            assert process.poll() is None, log.read_text()
            return RunningWorker(process, log)

        yield start


def count_workers(catalog: Catalog) -> int:
    return Worker.count(connection=catalog.queue.connection)


def enqueue(catalog: Catalog, scene_id: int) -> Job:
    with catalog.write() as session:
        return jobs.enqueue(session, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)


def stored(catalog: Catalog, job: Job) -> Job:
    with catalog.read() as session:
        return session.get_one(Job, job.id)


def scene_of(catalog: Catalog, job: Job) -> Scene:
    with catalog.read() as session:
        return session.get_one(Scene, job.subject["scene_id"])


def ends_as(catalog: Catalog, job: Job, state: JobState, log: Path) -> None:
    """Wait until a job is in this state, while rows are swept as the clock does."""

    def is_so() -> bool:
        catalog.sweep()
        return stored(catalog, job).state is state

    wait_for(is_so, log)


@pytest.fixture
def large_tiling(catalog: Catalog, tmp_path: Path) -> Job:
    """A scene of which the tiling takes long enough to be met in the middle."""
    path = tmp_path / "large.tif"
    write_geotiff(path, np.ones((1, LARGE_PX, LARGE_PX), np.uint8), transform=NORTH_UP, descriptions=["red"])
    forged = forge_scene(tmp_path / "a.tif")
    large = ForgedScene(path, (BandSource("red", str(path), 1),), forged.grid, forged.truth, ())
    return enqueue(catalog, register(catalog, large, outlines=False))


@contextmanager
def held(worker: RunningWorker) -> Iterator[None]:
    """Keep the process of the worker's job from going on while the block lasts."""
    horse = worker.horse
    horse.suspend()
    try:
        yield
    finally:
        horse.resume()


def test_two_workers_share_a_queue_and_each_job_is_done_once(
    catalog: Catalog, start_worker: Start, tmp_path: Path
) -> None:
    workers = [start_worker(), start_worker()]
    forged = [forge_scene(tmp_path / f"scene-{number}.tif", offset_px=200 * number) for number in range(8)]
    tilings = [enqueue(catalog, register(catalog, scene, outlines=False)) for scene in forged]
    for job in tilings:
        catalog.queue.push([job])  # Redis may carry an id twice; only one worker may claim the job
    for job in tilings:
        ends_as(catalog, job, JobState.FINISHED, workers[0].log)
    wait_for(lambda: not any(psutil.Process(worker.process.pid).children() for worker in workers), workers[0].log)
    assert [(job.attempt, job.failures) for job in (stored(catalog, item) for item in tilings)] == [(1, 0)] * 8
    done = [worker.successful_job_count for worker in Worker.all(connection=catalog.queue.connection)]
    assert len(done) == 2
    assert min(done) > 0
    with catalog.read() as session:
        counted = session.execute(select(Patch.scene_id, func.count()).group_by(Patch.scene_id)).all()
    assert sorted(count for _, count in counted) == [SMALL_PATCHES] * 8


def test_a_running_job_that_is_cancelled_stops_soon_and_its_worker_goes_on(
    catalog: Catalog, start_worker: Start, large_tiling: Job, tmp_path: Path
) -> None:
    worker = start_worker()
    wait_for(lambda: stored(catalog, large_tiling).state is JobState.RUNNING, worker.log)
    with held(worker), catalog.write() as session:
        assert failures.cancel(session, large_tiling.id).state is JobState.RUNNING  # asked to stop, not yet stopped
    cancelled_at = time.monotonic()
    wait_for(lambda: stored(catalog, large_tiling).state is not JobState.RUNNING, worker.log)
    assert time.monotonic() - cancelled_at < SOON_S
    ended = stored(catalog, large_tiling)
    assert (ended.state, ended.failures, ended.error) == (JobState.CANCELLED, 0, jobs.CANCELLED)
    scene = scene_of(catalog, large_tiling)
    assert (scene.state, scene.error, scene.patch_count) == (SceneState.REGISTERED, jobs.CANCELLED, 0)
    other = enqueue(catalog, register(catalog, forge_scene(tmp_path / "b.tif"), outlines=False))
    ends_as(catalog, other, JobState.FINISHED, worker.log)
    assert stored(catalog, large_tiling).state is JobState.CANCELLED  # no sweep takes it up again


def test_a_worker_that_is_told_to_stop_hands_its_job_to_another(
    catalog: Catalog, start_worker: Start, large_tiling: Job
) -> None:
    first = start_worker()
    wait_for(lambda: stored(catalog, large_tiling).state is JobState.RUNNING, first.log)
    with held(first):
        os.kill(first.process.pid, signal.SIGTERM)
    stopped_at = time.monotonic()
    assert first.process.wait(60) == 0, first.log.read_text()
    assert time.monotonic() - stopped_at < SOON_S
    back = stored(catalog, large_tiling)
    assert (back.state, back.attempt, back.failures, back.error) == (JobState.QUEUED, 1, 0, None)
    assert scene_of(catalog, large_tiling).state is SceneState.REGISTERED
    second = start_worker()
    ends_as(catalog, large_tiling, JobState.FINISHED, second.log)
    done = stored(catalog, large_tiling)
    assert (done.attempt, done.failures, done.error) == (2, 0, None)
    assert scene_of(catalog, large_tiling).patch_count == (LARGE_PX // 32) ** 2


@pytest.mark.parametrize("again", [True, False], ids=["told twice", "patience over"])
def test_a_job_that_does_not_stop_is_killed_and_handed_back(
    catalog: Catalog, start_worker: Start, large_tiling: Job, again: bool
) -> None:
    first = start_worker()
    wait_for(lambda: stored(catalog, large_tiling).state is JobState.RUNNING, first.log)
    horse = first.horse
    horse.suspend()  # deaf to everything but SIGKILL
    os.kill(first.process.pid, signal.SIGTERM)
    if again:
        time.sleep(1.2)  # RQ takes two signals within a second for one
        os.kill(first.process.pid, signal.SIGTERM)
    told_at = time.monotonic()
    assert first.process.wait(60) == 0, first.log.read_text()
    assert time.monotonic() - told_at < (SOON_S if again else 20)  # then the supervisor would kill the worker, too
    assert has_ended(horse)
    back = stored(catalog, large_tiling)
    assert (back.state, back.attempt, back.failures, back.error) == (JobState.QUEUED, 1, 0, None)
    second = start_worker()
    ends_as(catalog, large_tiling, JobState.FINISHED, second.log)
    assert (stored(catalog, large_tiling).attempt, stored(catalog, large_tiling).failures) == (2, 0)
