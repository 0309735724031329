"""What counts as ready."""

from datetime import UTC, datetime, timedelta

import redis
from rq import Queue, Worker

from catalog.settings import Settings
from cli.readiness import checks
from tests.real_services import free_port


def test_servers_that_are_not_there_are_not_ready():
    url = f"http://127.0.0.1:{free_port()}"
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    settings = Settings(api_url=url, mlflow_url=url, label_studio_url=url, redis_url=redis_url)
    asked = checks(settings)
    assert list(asked) == ["redis", "api", "worker-labels", "worker-io", "worker-compute", "mlflow", "label-studio"]
    assert not any(is_ready(datetime.now(UTC)) for is_ready in asked.values())


def test_a_worker_counts_on_its_own_queue_and_if_it_is_of_its_present_process(redis_server: str):
    connection = redis.Redis.from_url(redis_server)
    worker = Worker([Queue("io", connection=connection)], connection=connection)
    before = datetime.now(UTC)
    worker.register_birth()
    try:
        asked = checks(Settings(redis_url=redis_server))
        assert asked["redis"](before)
        assert asked["worker-io"](before)
        assert not asked["worker-compute"](before)
        assert not asked["worker-io"](before + timedelta(hours=1))
    finally:
        worker.register_death()
        connection.close()
