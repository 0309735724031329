"""Hand jobs to Redis from a thread of its own, so that a request does not wait for Redis."""

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Final

from catalog.errors import ServiceDownError
from catalog.job_queue import JobQueue
from catalog.records import Job

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 1000
"""Most batches that wait while Redis hangs; the clock's sweep pushes the jobs of all others."""


class Pusher:
    """Pushes jobs in the background. What it cannot push, the clock's next sweep does."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        self._waiting: queue.Queue[Sequence[Job]] = queue.Queue(_MAX_WAITING)
        threading.Thread(target=self._run, name="pusher", daemon=True).start()

    def push(self, jobs: Sequence[Job]) -> None:
        """Push jobs soon; return at once."""
        try:
            self._waiting.put_nowait(jobs)
        except queue.Full:
            log.warning("%d jobs wait for the sweep: Redis does not keep up", len(jobs))

    def _run(self) -> None:
        while True:
            push_all(self._jobs, self._waiting.get())


def push_all(queue_of_jobs: JobQueue, jobs: Sequence[Job]) -> None:
    """Push jobs; log the first that Redis does not take, and leave it and the others to the sweep."""
    for job in jobs:
        try:
            queue_of_jobs.push(job)
        except ServiceDownError as error:
            log.warning("job %s waits for the sweep: %s", job.id, error)
            return
