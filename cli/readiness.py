"""Checks whether the started processes are ready.

A server is ready once its own process listens at its port and answers there. That something answers is not enough:
Label Studio moves to the next port by itself if its own is taken, and what then answers at ours is somebody else's.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import psutil
import requests
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from rq import Queue, Worker

from catalog.job_queue import QUEUES
from catalog.settings import Settings
from cli.errors import ForeignServerError
from cli.supervisor import Status

_REQUEST_TIMEOUT_S = 2.0

# Takes the status of the process; returns whether it is ready. Raises ForeignServerError if another program is there.
Check = Callable[[Status], bool]


def checks(settings: Settings) -> dict[str, Check]:
    """Return the readiness check of each server and worker, by the name of its process.

    Args:
        settings: Settings with the URLs in use.
    """
    redis = Redis.from_url(settings.redis_url, socket_timeout=_REQUEST_TIMEOUT_S)

    def answers(url: str, path: str) -> Check:
        return partial(_answers_itself, url, lambda: _http_answers(f"{url}{path}"))

    def listens(queue: str) -> Check:
        return lambda status: _worker_listens(redis, queue, status.started)

    return {
        "redis": partial(_answers_itself, settings.redis_url, lambda: _redis_answers(redis)),
        "api": answers(settings.api_url, "/healthz"),
        **{f"worker-{queue}": listens(queue) for queue in QUEUES},
        "mlflow": answers(settings.mlflow_url, "/health"),
        "label-studio": answers(settings.label_studio_url, "/health"),
    }


def _answers_itself(url: str, answers: Callable[[], bool], status: Status) -> bool:
    """Return whether a server answers, and it is the one that was started.

    Raises:
        ForeignServerError: another program listens at its port.
    """
    parts = urlsplit(url)
    if parts.port is None:
        return False
    found = dict(_listeners(parts.port))
    own = _tree(status.pid)
    if own & found.keys():
        return answers()
    if not answers():
        return False
    other = ", ".join(f"process {pid}, {name}" for pid, name in found.items()) or "of another user"
    raise ForeignServerError(f"another program answers at {parts.hostname}:{parts.port} ({other}), not ours")


def _tree(pid: int) -> set[int]:
    """Return the ids of a process and its descendants; it alone if it has just ended."""
    with suppress(psutil.Error):
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return {pid}


def _listeners(port: int) -> Iterator[tuple[int, str]]:
    """Yield id and name of each process that listens at a port, as far as this user may see it."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with suppress(psutil.Error):
                yield connection.pid, psutil.Process(connection.pid).name()


def _http_answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=_REQUEST_TIMEOUT_S).status_code == HTTPStatus.OK
    except (requests.ConnectionError, requests.Timeout):
        return False


def _redis_answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except AuthenticationError:  # it answers, but knows another password than ours, or none
        return True
    except RedisError:
        return False


def _worker_listens(redis: Redis, queue: str, since: datetime) -> bool:
    """Return whether a worker has registered since its process started; an older entry is left from a killed one."""
    try:
        workers = Worker.all(queue=Queue(queue, connection=redis))
    except RedisError:
        return False
    return any(worker.birth_date is not None and worker.birth_date >= since for worker in workers)
