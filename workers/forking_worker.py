"""The worker of all queues but "labels", which forks a process for each job.

When that process ends, or the kernel kills it for lack of memory, its memory is freed and the worker goes on. Modules
are imported before the fork. The worker itself must not use CUDA or open a database connection, since neither survives
a fork.
"""

import os
import signal
import threading

from rq import Queue, Worker
from rq.job import Job as RqJob

from catalog.process_tree import end_with_parent
from workers import interruption
from workers.worker_base import STOP_GRACE_S, RegisteredWorker, note_killed, stopping


class ForkingWorker(RegisteredWorker, Worker):
    """RQ's worker, with reliable ends of its jobs.

    A worker that is stopped interrupts its running job, and a worker that is killed takes its job along.
    """

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Run a job; called in the process forked for it."""
        end_with_parent(signal.SIGKILL)  # the job is then given to another worker and must not run twice
        super().main_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        """Interrupt the running job; it runs again later, a fine-tune from its checkpoint."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        stopping.set()
        if self.horse_pid:
            interruption.interrupt(self.horse_pid)
            cold_stop = threading.Timer(STOP_GRACE_S, os.kill, (os.getpid(), signal.SIGTERM))
            cold_stop.daemon = True
            cold_stop.start()

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        """Run a job in its own process; queue it again if a cold stop of this worker kills that process."""
        try:
            super().execute_job(job, queue)
        except SystemExit:  # RQ's cold stop, which calls no handler
            note_killed(job)
            raise
