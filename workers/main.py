"""``python -m workers.main labels|io|compute``: an RQ worker that loads its libraries once and forks for each job.

The fork gives every job a clean process, whose death (even by the kernel, for want of memory) gives all memory back and
takes nobody along. What is imported before the fork is not imported again; nothing here may touch CUDA or open a
connection to the database, since neither survives a fork.
"""

import argparse
import logging
import os
import signal
import threading
from importlib import import_module

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Worker, worker_registration
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import CatalogError
from catalog.failures import note_failure
from catalog.job_queue import COMPUTE, QUEUES, queue_of, rq_id
from catalog.logs import configure_logging
from catalog.process_tree import end_with_parent
from catalog.records import JobKind, JobState
from catalog.settings import Settings
from catalog.start import readable_faults
from workers import interruption
from workers.job_functions import function_of
from workers.time_limit import DeathPenalty

log = logging.getLogger(__name__)

_stopping = threading.Event()  # this worker was told to stop

# A job that does not stop by itself within this time is killed and handed back, before whoever stops the worker kills
# both and the job counts as failed: supervisor and Docker wait for 20 s (cli.plan.WORKER_STOP_S).
STOP_GRACE_S = 15.0

# An idle worker looks after abandoned jobs only when this is over; RQ's own default is seven minutes.
WORKER_TTL_S = 45


class JobWorker(Worker):
    """RQ's worker, whose jobs end in time.

    An alarm ends a job that takes too long, and no library can swallow it. When the worker is told to stop, so is its
    running job; when the worker is killed, so is its job.
    """

    death_penalty_class = DeathPenalty

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Run a job in the process that was forked for it."""
        end_with_parent(signal.SIGKILL)  # the job is given to another worker then, and must not run beside that
        super().main_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        """Interrupt the running job: it goes on later, from its checkpoint if it is a fine-tune."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        _stopping.set()
        if self.horse_pid:
            interruption.interrupt(self.horse_pid)
            cold_stop = threading.Timer(STOP_GRACE_S, os.kill, (os.getpid(), signal.SIGTERM))
            cold_stop.daemon = True
            cold_stop.start()

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        """Run a job in a process of its own, and hand it back if a cold stop of this worker kills that process."""
        try:
            super().execute_job(job, queue)
        except SystemExit:  # RQ's cold stop, which calls no handler
            note_killed(job)
            raise

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that this worker lives; register it again if Redis has lost its content."""
        if pipeline is None and not self.connection.hexists(self.key, "birth"):
            self.connection.hset(self.key, mapping=self.serialize())
            worker_registration.register(self)
        super().heartbeat(timeout, pipeline)


def preload(queue: str) -> None:
    """Import the functions of all jobs of a queue, and with them their libraries."""
    for kind in JobKind:
        if queue_of(kind) == queue:
            function_of(kind)
    if queue != COMPUTE:
        import_module("label_studio_sdk")  # loaded when first needed, since the API's process needs none: 0.8 s a job


def prepare_threads(settings: Settings) -> None:
    """Set up the CPU threads of the numerical libraries; must happen before they are loaded."""
    # OpenMP's threads wait for one another by spinning. Where other processes want the cores too, a spinning thread
    # keeps the very thread from running that it waits for: training was 3 to 12 times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if settings.torch_threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.torch_threads)


def note_killed(rq_job: RqJob, *_: object) -> None:
    """Give a job whose process was killed back at once, instead of waiting for its heartbeat to go stale."""
    catalog = Catalog(Settings())
    try:
        with catalog.write() as session:
            job = jobs.get(session, rq_job.args[0])
            if job.state is JobState.RUNNING and rq_job.id == rq_id(job.id, job.attempt - 1):
                if _stopping.is_set():  # an orderly stop that could not wait any longer is no failure of the job
                    jobs.hand_back(session, job.id, job.attempt)
                else:
                    note_failure(session, job, "its process was killed", catalog.settings.job_attempts)
    except (CatalogError, SQLAlchemyError):  # RQ would end the worker; the sweep will notice the job instead
        log.exception("the death of job %s could not be noted", rq_job.id)
    finally:
        catalog.close()


@readable_faults()
def main() -> None:
    """Work on one queue until told to stop; a running job is finished first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("queue", choices=QUEUES)
    parser.add_argument("--burst", action="store_true", help="stop when the queue is empty")
    arguments = parser.parse_args()
    configure_logging()
    settings = Settings()
    os.environ |= settings.as_environment()  # the process of every job reads these, though the file be edited meanwhile
    prepare_threads(settings)
    preload(arguments.queue)
    interruption.listen()
    worker = JobWorker(
        [arguments.queue],
        connection=Redis.from_url(settings.redis_url),
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_S,
        work_horse_killed_handler=note_killed,
    )
    worker.work(burst=arguments.burst, logging_level="WARNING")


if __name__ == "__main__":
    main()
