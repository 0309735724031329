"""Checks whether the started processes are ready."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus

import requests
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker

from catalog.job_queue import QUEUES
from catalog.settings import Settings

_REQUEST_TIMEOUT_S = 2.0

# Takes the time at which the process was started (with a zone); returns whether it is ready.
Check = Callable[[datetime], bool]


def checks(settings: Settings) -> dict[str, Check]:
    """Return the readiness check of each server and worker, by the name of its process.

    Args:
        settings: Settings with the URLs in use.
    """
    redis = Redis.from_url(settings.redis_url, socket_timeout=_REQUEST_TIMEOUT_S)
    workers: dict[str, Check] = {f"worker-{queue}": partial(_worker_listens, redis, queue) for queue in QUEUES}
    return {
        "redis": lambda _: _redis_answers(redis),
        "api": lambda _: _http_answers(f"{settings.api_url}/healthz"),
        **workers,
        "mlflow": lambda _: _http_answers(f"{settings.mlflow_url}/health"),
        "label-studio": lambda _: _http_answers(f"{settings.label_studio_url}/health"),
    }


def _http_answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=_REQUEST_TIMEOUT_S).status_code == HTTPStatus.OK
    except (requests.ConnectionError, requests.Timeout):
        return False


def _redis_answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _worker_listens(redis: Redis, queue: str, since: datetime) -> bool:
    """Return whether a worker has registered since its process started; an older entry is left from a killed one."""
    try:
        workers = Worker.all(queue=Queue(queue, connection=redis))
    except RedisError:
        return False
    return any(worker.birth_date is not None and worker.birth_date >= since for worker in workers)
