"""What all our RQ workers share: time limits, registration in Redis, and the end of jobs that are cut off."""

import logging
import threading

from redis.client import Pipeline
from rq import worker_registration
from rq.job import Job as RqJob
from rq.worker import BaseWorker
from sqlalchemy.exc import SQLAlchemyError

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import CatalogError
from catalog.failures import note_failure
from catalog.job_queue import rq_id
from catalog.records import JobState
from catalog.settings import Settings
from workers.time_limit import DeathPenalty

log = logging.getLogger(__name__)

stopping = threading.Event()
"""Set when this worker receives a stop signal."""

# A job that does not stop within this time is killed and queued again. Supervisor and Docker kill a worker that has not
# stopped after 20 s (cli.plan.WORKER_STOP_S); its job would then count as failed.
STOP_GRACE_S = 15.0


class RegisteredWorker(BaseWorker):
    """An RQ worker whose time limits no library can catch, and which survives a Redis that has lost its data."""

    death_penalty_class = DeathPenalty

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Send a heartbeat; register the worker again, as Redis may have lost its data.

        Each time: others remove a worker from the lists whose key has expired, as it does when Redis's clock is set
        ahead, and they may do so just after it has come back.
        """
        if pipeline is None:
            if not self.connection.hexists(self.key, "birth"):
                self.connection.hset(self.key, mapping=self.serialize())
            worker_registration.register(self)
        super().heartbeat(timeout, pipeline)


def note_killed(rq_job: RqJob, *_: object) -> None:
    """Queue a job again at once when its process was killed, instead of waiting until its heartbeat is stale."""
    catalog = Catalog(Settings())
    try:
        with catalog.write() as session:
            job = jobs.get(session, rq_job.args[0])
            if job.state is JobState.RUNNING and rq_job.id == rq_id(job.id, job.attempt - 1):
                if stopping.is_set():  # killed because the worker is stopping: not a failure of the job
                    jobs.hand_back(session, job.id, job.attempt)
                else:
                    note_failure(session, job, "its process was killed", catalog.settings.job_attempts)
    except (CatalogError, SQLAlchemyError):  # an exception would end the worker; the sweep will queue the job
        log.exception("the death of job %s could not be noted", rq_job.id)
    finally:
        catalog.close()
