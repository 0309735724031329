"""The catalog as a whole: settings, secrets, database and job queue, made once per process and passed around."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from sqlalchemy.orm import Session

from catalog import jobs, setting_changes
from catalog.database import Database
from catalog.errors import JobLostError
from catalog.failures import note_failure
from catalog.job_queue import COMPUTE, UPKEEP, JobQueue, queue_of
from catalog.pusher import Pusher, push_or_leave
from catalog.records import Job, JobKind, now
from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings

_TIMEOUT_S = 2.0  # of a call of Redis
_REQUEST_TIMEOUT_S = 0.5
_DESCRIPTION_ENDS_IN_S = 60
DELIVERY_LIMIT_S = 20
"""Time limit of an attempt to deliver an event: a receiver that dribbles must not keep the worker from other jobs."""


class Catalog:
    """Gives sessions of the database, and pushes the jobs that they enqueue to Redis.

    Attributes:
        configured: The settings that the process started with.
        settings: The settings in force: those, and what people changed since (`refresh_settings`).
        secrets: Tokens and keys.
        database: The database.
        queue: The job queue.
    """

    def __init__(self, settings: Settings, *, answers_requests: bool = False) -> None:
        """Open the catalog.

        Args:
            settings: The settings.
            answers_requests: Whether it is used by request threads, which must not wait for Redis or the disk: jobs are
                pushed in the background, calls of Redis give up soon, and SQLite's checkpoints are left to the workers
                and the clock.
        """
        self.configured = self.settings = settings
        self._newest_change: int | None = None
        self.secrets: Secrets = load_or_create(settings.secrets_file)
        self.database = Database(settings.database_url, leaves_checkpoints=answers_requests)
        timeout_s = _REQUEST_TIMEOUT_S if answers_requests else _TIMEOUT_S
        self.queue = JobQueue(settings.redis_url, partial(_time_limit_s, settings), timeout_s)
        self._pusher = Pusher(self.queue) if answers_requests else None

    def refresh_settings(self) -> None:
        """Take in what people changed of the settings while the system runs.

        Called where work begins, of a job, a tick of the clock, a request or a command, so that the settings stay the
        same to its end.
        """
        with self.read() as session:
            newest = setting_changes.newest_id(session)
            if newest == self._newest_change:
                return
            changes = setting_changes.standing(session)
        self.settings, self._newest_change = setting_changes.applied(self.configured, changes), newest

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
        due = [job for job in new_jobs if job.run_after <= now()]
        if not due:
            return
        if self._pusher is None:
            push_or_leave(self.queue, due)
        else:
            self._pusher.push(due)

    def sweep(self, *, heartbeats_tell: bool = True) -> None:
        """Record jobs whose worker died as failed or queued again, and push due jobs that Redis does not hold.

        Args:
            heartbeats_tell: Whether a worker without a recent heartbeat is dead.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        with self.database.read() as session:
            abandoned = jobs.stale(session, self.settings.job_stale_after_s) if heartbeats_tell else []
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


def _time_limit_s(settings: Settings, kind: JobKind) -> int:
    """Return the time limit of jobs of a kind."""
    if kind is JobKind.INGEST_LABEL:
        return settings.label_timeout_s
    if kind is JobKind.DELIVER_EVENT:
        return DELIVERY_LIMIT_S
    if kind is JobKind.DESCRIBE_SCENE:  # it has the same limit, and says why it ended if that ends it
        return math.ceil(settings.scene_check_timeout_s) + _DESCRIPTION_ENDS_IN_S
    takes_long = queue_of(kind) in {COMPUTE, UPKEEP}
    return settings.compute_timeout_s if takes_long else settings.job_timeout_s
