"""What counts as ready."""

import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import redis
from rq import Queue, Worker

from catalog.settings import Settings
from cli.errors import ForeignServerError
from cli.readiness import checks
from cli.supervisor import State, Status
from tests.real_services import free_port

NO_PROCESS = 2**22  # the first number that Linux gives no process


def started(pid: int = NO_PROCESS, at: datetime | None = None) -> Status:
    return Status(State.RUNNING, pid, at or datetime.now(UTC))


@pytest.fixture
def answering_url() -> Iterator[str]:
    """The URL of a server of this process that answers 200 to everything."""

    class Yes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Yes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["api", "mlflow", "label-studio"])
def test_a_server_is_ready_if_its_own_process_answers(answering_url: str, name: str):
    settings = Settings(api_url=answering_url, mlflow_url=answering_url, label_studio_url=answering_url)
    is_ready = checks(settings)[name]
    assert is_ready(started(os.getpid()))
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        try:
            with pytest.raises(ForeignServerError, match=rf"at 127\.0\.0\.1:\d+ \(process {os.getpid()}, "):
                is_ready(started(other.pid))
        finally:
            other.kill()


def test_a_redis_of_somebody_else_is_not_ours(redis_server: str):
    url = redis_server.replace("redis://", "redis://:our-password@")
    for asked in (checks(Settings(redis_url=redis_server)), checks(Settings(redis_url=url))):
        with pytest.raises(ForeignServerError, match="another program answers"):
            asked["redis"](started())


def test_servers_that_are_not_there_are_not_ready():
    url = f"http://127.0.0.1:{free_port()}"
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    settings = Settings(api_url=url, mlflow_url=url, label_studio_url=url, redis_url=redis_url)
    asked = checks(settings)
    assert list(asked) == [
        "redis",
        "api",
        "worker-labels",
        "worker-io",
        "worker-upkeep",
        "worker-compute",
        "mlflow",
        "label-studio",
    ]
    assert not any(is_ready(started()) for is_ready in asked.values())


def test_a_worker_counts_on_its_own_queue_and_if_it_is_of_its_present_process(redis_server: str):
    connection = redis.Redis.from_url(redis_server)
    worker = Worker([Queue("io", connection=connection)], connection=connection)
    before = datetime.now(UTC)
    worker.register_birth()
    try:
        asked = checks(Settings(redis_url=redis_server))
        assert asked["worker-io"](started(at=before))
        assert not asked["worker-compute"](started(at=before))
        assert not asked["worker-io"](started(at=before + timedelta(hours=1)))
    finally:
        worker.register_death()
        connection.close()
