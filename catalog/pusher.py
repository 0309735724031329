"""Hand jobs to Redis from a thread of its own, so that a request does not wait for Redis."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from catalog.errors import ServiceDownError
from catalog.job_queue import JobQueue
from catalog.records import Job

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 1000
"""Most batches that wait while Redis hangs; the clock's sweep pushes the jobs of all others."""

_GATHERS_S: Final = 0.05
"""How long it waits for more to hand over in the same call, which costs about the same for one job as for ten."""


class Pusher:
    """Pushes jobs in the background. What it cannot push, the clock's next sweep does."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        # A `Queue` would give Python's lock away at each put.
        self._waiting: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="pusher", daemon=True).start()

    def push(self, jobs: Sequence[Job]) -> None:
        """Push jobs soon; return at once."""
        if self._waiting.qsize() >= _MAX_WAITING:
            log.warning("%d jobs wait for the sweep: Redis does not keep up", len(jobs))
        else:
            self._waiting.put(jobs)

    def _run(self) -> None:
        while True:
            jobs = list(self._waiting.get())
            time.sleep(_GATHERS_S)
            with suppress(queue.Empty):  # what came meanwhile goes along, in the same call
                while True:
                    jobs += self._waiting.get_nowait()
            push_or_leave(self._jobs, jobs)


def push_or_leave(queue_of_jobs: JobQueue, jobs: Sequence[Job]) -> None:
    """Push jobs; if Redis does not take them, log it and leave them to the sweep."""
    try:
        queue_of_jobs.push(jobs)
    except ServiceDownError as error:
        log.warning("%d jobs wait for the sweep, the first of them %s: %s", len(jobs), jobs[0].id, error)
