"""When the processes that were started can be used."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus

import requests
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker

from catalog.job_queue import QUEUES
from catalog.settings import Settings

_INTERVAL_S = 0.5
_REQUEST_TIMEOUT_S = 2.0

Check = Callable[[], bool]


def checks(settings: Settings, since: datetime) -> dict[str, Check]:
    """Return, by the name of its process, how to ask each server and worker whether it is ready.

    Args:
        settings: Settings with the URLs in use.
        since: Start of this system (aware). A worker that registered before it is a remnant of one that was killed.
    """
    redis = Redis.from_url(settings.redis_url, socket_timeout=_REQUEST_TIMEOUT_S)
    workers = {f"worker-{queue}": partial(_worker_listens, redis, queue, since) for queue in QUEUES}
    return {
        "redis": partial(_redis_answers, redis),
        "api": partial(_http_answers, f"{settings.api_url}/healthz"),
        **workers,
        "mlflow": partial(_http_answers, f"{settings.mlflow_url}/health"),
        "label-studio": partial(_http_answers, f"{settings.label_studio_url}/health"),
    }


def wait_until_ready(
    pending: Mapping[str, Check],
    *,
    say: Callable[[str], None],
    give_up: Callable[[], bool],
    timeout_s: float,
) -> list[str]:
    """Ask in turn until all are ready, `give_up` returns true, or the time is up.

    Returns:
        The names of those that were not ready, in order; empty on success.
    """
    pending = dict(pending)
    start = time.monotonic()
    while pending and not give_up() and time.monotonic() - start < timeout_s:
        for name in [name for name, is_ready in pending.items() if is_ready()]:
            del pending[name]
            waiting = f"; waiting for {', '.join(pending)}" if pending else ""
            say(f"  {time.monotonic() - start:5.1f} s  {name} is ready{waiting}")
        time.sleep(_INTERVAL_S)
    return list(pending)


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
    try:
        workers = Worker.all(queue=Queue(queue, connection=redis))
    except RedisError:
        return False
    return any(worker.birth_date is not None and worker.birth_date >= since for worker in workers)
