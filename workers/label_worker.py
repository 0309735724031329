"""The worker of the queue "labels", which does its jobs in its own process.

A fork, fresh connections and reading the settings cost more than the ingestion of a label event itself. What a process
of its own would protect from is bounded otherwise: the size of a body when it is received, what it holds when it is
read, and the time of a job by an alarm. If the alarm has no effect, because a library does not return, a watchdog ends
the worker; the supervisor starts it again, and the event's job counts one more failed attempt.
"""

import faulthandler
import os
import threading
from typing import Any, Final

from rq import Queue, SimpleWorker
from rq.job import Job as RqJob

from catalog.context import Catalog
from workers.jobs import shared_catalog
from workers.worker_base import STOP_GRACE_S, RegisteredWorker, note_killed, stopping

WATCHDOG_GRACE_S: Final = 30
"""How long after the time limit of a job the worker itself is ended."""


class LabelWorker(RegisteredWorker, SimpleWorker):
    """RQ's worker without forks; all jobs use one catalog, whose connections stay open."""

    def __init__(self, *arguments: Any, catalog: Catalog, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._catalog = catalog
        self._running: RqJob | None = None

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        """Run a job in this process, under the eyes of a watchdog that needs neither this thread nor Python's lock."""
        self._running = job
        faulthandler.dump_traceback_later(float(job.timeout or 0) + WATCHDOG_GRACE_S, exit=True)
        try:
            with shared_catalog(self._catalog):
                super().execute_job(job, queue)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._running = None

    def handle_warm_shutdown_request(self) -> None:
        """Let the running job end; if it takes too long, give it back and end the worker."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        stopping.set()
        if self._running is not None:
            cold_stop = threading.Timer(STOP_GRACE_S, _give_back, (self._running,))
            cold_stop.daemon = True
            cold_stop.start()


def _give_back(job: RqJob) -> None:
    note_killed(job)
    os._exit(1)
