"""The catalog as a whole: settings, secrets, database and job queue, made once per process and passed around."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy.orm import Session

from catalog import jobs
from catalog.database import Database
from catalog.errors import JobLostError, ServiceDownError
from catalog.failures import note_failure
from catalog.job_queue import JobQueue
from catalog.records import Job, now
from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings

log = logging.getLogger(__name__)


class Catalog:
    """Gives sessions of the database, and pushes the jobs that they enqueue to Redis."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secrets: Secrets = load_or_create(settings.secrets_file)
        self.database = Database(settings.database_url)
        self.queue = JobQueue(settings.redis_url, settings.job_timeout_s, settings.compute_timeout_s)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading."""
        with self.database.read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session that commits at the end of the block; then push the jobs that it enqueued to Redis."""
        with self.database.write() as session:
            yield session
        self.dispatch(jobs.enqueued(session))

    def dispatch(self, new_jobs: Sequence[Job]) -> None:
        """Push the jobs that are due to Redis. If Redis is down, the next sweep pushes them."""
        for job in new_jobs:
            if job.run_after > now():
                continue
            try:
                self.queue.push(job)
            except ServiceDownError as error:
                log.warning("job %s waits for the sweep: %s", job.id, error)
                return

    def sweep(self) -> None:
        """Record jobs whose worker died as failed or queued again, and push due jobs that Redis does not hold.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        with self.database.read() as session:
            abandoned = jobs.stale(session, self.settings.job_stale_after_s)
        for job in abandoned:
            with suppress(JobLostError), self.database.write() as session:  # the job may have ended meanwhile
                note_failure(session, job, "its worker died", self.settings.job_attempts)
        with self.database.read() as session:
            waiting = jobs.due(session)
        self.queue.push_missing(waiting)

    def close(self) -> None:
        """Close all connections."""
        self.database.dispose()
        self.queue.connection.close()
