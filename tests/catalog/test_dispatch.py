"""Rows are the truth and Redis only carries them: it may be down, or forget everything, and no work is lost."""

import json
import zlib
from datetime import timedelta

import pytest
import redis

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.job_queue import COMPUTE, LABELS, JobQueue
from catalog.records import Job, JobKind, JobState, now
from catalog.settings import Settings
from tests.catalog_fixtures import NO_REDIS, pushed
from workers.main import make_worker


def without_redis(settings: Settings) -> Catalog:
    return Catalog(settings.model_copy(update={"redis_url": NO_REDIS}))


def waiting(catalog: Catalog) -> int:
    with catalog.read() as session:
        return len(jobs.due(session))


def test_jobs_reach_redis_only_after_the_commit(catalog: Catalog) -> None:
    with catalog.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
        assert pushed(catalog) == []
    assert pushed(catalog) == [f"{job.id}-0"]


def test_kinds_go_to_their_queues_and_carry_only_the_id(catalog: Catalog, redis_url: str) -> None:
    with catalog.write() as session:
        io = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
        compute = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    with redis.Redis.from_url(redis_url, decode_responses=False) as client:
        assert client.lrange("rq:queue:io", 0, -1) == [f"{io.id}-0".encode()]
        assert client.lrange("rq:queue:compute", 0, -1) == [f"{compute.id}-0".encode()]
        fields = client.hgetall(f"rq:job:{compute.id}-0")
    assert int(fields[b"timeout"]) == catalog.settings.compute_timeout_s
    # JSON, never pickle: the function by name, then what it is called with.
    assert json.loads(zlib.decompress(fields[b"data"])) == ["workers.jobs.run", None, [compute.id], {}]


def test_no_fine_tune_waits_behind_what_people_ask_for(catalog: Catalog, settings: Settings) -> None:
    with catalog.write() as session:
        asked = [jobs.enqueue(session, JobKind.PREDICT_SCENE, str(n), scene_id=n, version=1) for n in range(2)]
        asked.append(jobs.enqueue(session, JobKind.EXPORT_DATASET, "a", uid="a"))
        asked.append(jobs.enqueue(session, JobKind.REPRODUCE_VERSION, "1", version=1, by="olga"))
        last = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    assert len(pushed(catalog)) == 5
    catalog.sweep()
    assert len(pushed(catalog)) == 5
    worker = make_worker(COMPUTE, settings)
    worker.register_birth()
    taken = [worker.dequeue_job_and_maintain_ttl(timeout=None)[0].args[0] for _ in range(5)]  # type: ignore[index]
    assert taken == [last.id, *(job.id for job in asked)]


def test_no_annotation_waits_behind_the_patches_of_a_drawing(catalog: Catalog, settings: Settings) -> None:
    with catalog.write() as session:
        patches = [
            jobs.enqueue(session, JobKind.INGEST_LABEL, str(number), event_id=number, comes_last=True)
            for number in range(2)
        ]
        annotation = jobs.enqueue(session, JobKind.INGEST_LABEL, "2", event_id=2)
    catalog.sweep()
    assert len(pushed(catalog)) == 3
    worker = make_worker(LABELS, settings)
    worker.register_birth()
    taken = [worker.dequeue_job_and_maintain_ttl(timeout=None)[0].args[0] for _ in range(3)]  # type: ignore[index]
    assert taken == [annotation.id, *(job.id for job in patches)]
    assert catalog.queue.workers()[LABELS] == 1


def test_redis_down_keeps_the_rows_and_the_sweep_pushes_them_once_it_is_back(
    catalog: Catalog, settings: Settings
) -> None:
    down = without_redis(settings)
    with down.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
    with pytest.raises(ServiceDownError, match=r"Redis does not answer at 127\.0\.0\.1:9"):
        down.sweep()
    down.close()
    assert waiting(catalog) == 1
    catalog.sweep()
    assert pushed(catalog) == [f"{job.id}-0"]


def test_flushing_redis_loses_nothing(catalog: Catalog, redis_url: str) -> None:
    with catalog.write() as session:
        for number in range(5):
            jobs.enqueue(session, JobKind.INGEST_LABEL, str(number), event_id=number)
    before = pushed(catalog)
    assert len(before) == 5
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    catalog.sweep()
    assert pushed(catalog) == before


def test_a_sweep_pushes_nothing_twice(catalog: Catalog) -> None:
    with catalog.write() as session:
        jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
    before = pushed(catalog)
    catalog.sweep()
    catalog.sweep()
    assert pushed(catalog) == before


def test_a_job_for_later_is_pushed_later(catalog: Catalog) -> None:
    with catalog.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
        job.run_after = now() + timedelta(seconds=60)
    catalog.sweep()
    assert pushed(catalog) == []
    with catalog.database.write() as session:
        session.get_one(Job, job.id).run_after = now()
    catalog.sweep()
    assert pushed(catalog) == [f"{job.id}-0"]


def test_a_running_job_is_not_pushed(catalog: Catalog, redis_url: str) -> None:
    with catalog.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
        jobs.claim(session, job.id)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    catalog.sweep()
    assert pushed(catalog) == []
    with catalog.read() as session:
        assert jobs.get(session, job.id).state is JobState.RUNNING


def test_nobody_listens_until_a_worker_registers(catalog: Catalog) -> None:
    assert catalog.queue.workers() == {"labels": 0, "io": 0, "upkeep": 0, "compute": 0}


@pytest.mark.parametrize(
    ("url", "address"),
    [("redis://:secret@127.0.0.1:6399/0", "127.0.0.1:6399"), ("unix://:secret@/run/redis.sock", "/run/redis.sock")],
)
def test_the_address_of_redis_is_told_without_its_password(url: str, address: str) -> None:
    queue = JobQueue(url, lambda kind: 1)
    assert queue.address == address
    queue.connection.close()
