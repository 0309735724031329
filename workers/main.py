"""``python -m workers.main labels|io|compute``: an RQ worker that loads its libraries once and forks for each job.

Each job has a forked process: when it ends, or the kernel kills it for lack of memory, its memory is freed and the
worker goes on. Modules are imported before the fork. This process must not use CUDA or open a database connection,
since neither survives a fork.
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

_stopping = threading.Event()  # set when this worker receives a stop signal

# A job that does not stop within this time is killed and queued again. Supervisor and Docker kill a worker that has not
# stopped after 20 s (cli.plan.WORKER_STOP_S); its job would then count as failed.
STOP_GRACE_S = 15.0

# An idle worker checks for abandoned jobs only after this time; RQ's default is seven minutes.
WORKER_TTL_S = 45


class JobWorker(Worker):
    """RQ's worker, with reliable ends of its jobs.

    A time limit ends a job even if a library catches every `Exception`. A worker that is stopped interrupts its running
    job, and a worker that is killed takes its job along.
    """

    death_penalty_class = DeathPenalty

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Run a job; called in the process forked for it."""
        end_with_parent(signal.SIGKILL)  # the job is then given to another worker and must not run twice
        super().main_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        """Interrupt the running job; it runs again later, a fine-tune from its checkpoint."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        _stopping.set()
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

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Send a heartbeat; register the worker again if Redis has lost its data."""
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
        import_module(
            "label_studio_sdk"
        )  # the API never needs it, so it is imported lazily; here that would cost 0.8 s a job


def prepare_threads(settings: Settings) -> None:
    """Set the CPU threads of the numerical libraries; call before they are imported."""
    # OpenMP threads wait by spinning. On a busy machine a spinning thread occupies the core that the thread it waits
    # for needs: training was 3 to 12 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if settings.torch_threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.torch_threads)


def note_killed(rq_job: RqJob, *_: object) -> None:
    """Queue a job again at once when its process was killed, instead of waiting until its heartbeat is stale."""
    catalog = Catalog(Settings())
    try:
        with catalog.write() as session:
            job = jobs.get(session, rq_job.args[0])
            if job.state is JobState.RUNNING and rq_job.id == rq_id(job.id, job.attempt - 1):
                if _stopping.is_set():  # killed because the worker is stopping: not a failure of the job
                    jobs.hand_back(session, job.id, job.attempt)
                else:
                    note_failure(session, job, "its process was killed", catalog.settings.job_attempts)
    except (CatalogError, SQLAlchemyError):  # an exception would end the worker; the sweep will queue the job
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
    settings = Settings()
    configure_logging(settings.log_format)
    os.environ |= settings.as_environment()  # every job uses these, even if config.toml is edited meanwhile
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
