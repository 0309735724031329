"""What counts as ready."""

from datetime import UTC, datetime, timedelta

import redis
from rq import Queue, Worker

from catalog.settings import Settings
from cli.readiness import checks, wait_until_ready
from tests.real_services import free_port


def test_each_is_announced_with_what_is_still_missing():
    slow = iter([False, False, True])
    said: list[str] = []
    pending = {"redis": lambda: True, "mlflow": lambda: next(slow)}
    assert wait_until_ready(pending, say=said.append, give_up=lambda: False, timeout_s=10) == []
    assert [line.split("s  ")[1] for line in said] == ["redis is ready; waiting for mlflow", "mlflow is ready"]


def test_those_that_are_late_are_named():
    pending = {"redis": lambda: True, "mlflow": lambda: False}
    assert wait_until_ready(pending, say=[].append, give_up=lambda: False, timeout_s=0.1) == ["mlflow"]


def test_nobody_is_waited_for_after_the_end():
    assert wait_until_ready({"mlflow": lambda: False}, say=[].append, give_up=lambda: True, timeout_s=60) == ["mlflow"]


def test_servers_that_are_not_there_are_not_ready():
    url = f"http://127.0.0.1:{free_port()}"
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    settings = Settings(api_url=url, mlflow_url=url, label_studio_url=url, redis_url=redis_url)
    asked = checks(settings, datetime.now(UTC))
    assert list(asked) == ["redis", "api", "worker-io", "worker-compute", "mlflow", "label-studio"]
    assert not any(is_ready() for is_ready in asked.values())


def test_a_worker_counts_on_its_own_queue_and_if_it_is_of_this_start(redis_server: str):
    connection = redis.Redis.from_url(redis_server)
    worker = Worker([Queue("io", connection=connection)], connection=connection)
    before = datetime.now(UTC)
    worker.register_birth()
    try:
        settings = Settings(redis_url=redis_server)
        assert checks(settings, before)["redis"]()
        assert checks(settings, before)["worker-io"]()
        assert not checks(settings, before)["worker-compute"]()
        assert not checks(settings, before + timedelta(hours=1))["worker-io"]()
    finally:
        worker.register_death()
        connection.close()
