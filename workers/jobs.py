"""The entry point of RQ: claim a job, send heartbeats while its function runs, and store how it ended."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import (
    CatalogError,
    JobCancelledError,
    JobGivesWayError,
    JobInterruptedError,
    JobLostError,
)
from catalog.failures import note_cancelled, note_failure
from catalog.logs import bound
from catalog.records import Job
from catalog.settings import Settings
from catalog.told_texts import described
from imagery.errors import ExportError, OutlineError, SceneError, StoreError, UnreadableFileError
from labeling.errors import EventError, PredictionError, RegionError
from services.unusable_scenes import set_aside_scenes
from workers import interruption
from workers.job_functions import function_of
from workers.passing_errors import awaits_return, may_pass
from workers.time_limit import JobTimeLimit

log = logging.getLogger(__name__)

STEP_TOLD_EVERY_S: Final = 1.0  # each report writes to the database, and a step may take milliseconds

# Errors that a retry cannot fix: the input is faulty, or the current state does not allow the job.
PERMANENT = (SceneError, OutlineError, StoreError, ExportError, EventError, PredictionError, RegionError, CatalogError)


class JobContext:
    """The context of a claimed job, which its function gets as first argument."""

    def __init__(self, catalog: Catalog, job: Job) -> None:
        self.catalog = catalog
        self.job_id = job.id
        self.attempt = job.attempt
        self._failures = job.failures
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._step_told_at = -math.inf

    def progress(self, done: int, total: int, message: str) -> None:
        """Store the progress of the job: ``done`` of ``total`` steps, and a message for people.

        Raises:
            JobLostError: the job was given to another worker; stop at once.
            JobCancelledError: someone cancelled the job; stop.
            JobInterruptedError: the worker is shutting down; save a checkpoint, if there is one, and stop.
        """
        self._check()
        try:
            with self.catalog.database.write() as session:
                if jobs.report_progress(session, self.job_id, self.attempt, done, total, message):
                    self._cancelled.set()
        except OperationalError as error:  # a database that restarts must not end hours of training
            log.warning("job %s could not note its progress: %s", self.job_id, error)
        self._check()

    def progress_of_step(self, done: int, total: int, message: str) -> None:
        """Store the progress as `progress` does, which it raises as, but of short steps only some, and the last one."""
        if done < total and time.monotonic() - self._step_told_at < STEP_TOLD_EVERY_S:
            self._check()
            return
        self.progress(done, total, message)
        self._step_told_at = time.monotonic()

    def report(self, found: Mapping[str, Any]) -> None:
        """Store what the job found, as `catalog.jobs.keep_report`; `catalog.jobs.last_reported` finds it again.

        Raises:
            JobLostError: the job was given to another worker; stop at once.
        """
        with self.catalog.database.write() as session:
            jobs.keep_report(session, self.job_id, self.attempt, found)

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job fails for good if this attempt fails, whatever the error."""
        return self._failures + 1 >= self.catalog.settings.job_attempts

    def _check(self) -> None:
        if self._lost.is_set():
            raise JobLostError(f"job {self.job_id} was given to another worker")
        if self._cancelled.is_set():
            raise JobCancelledError(f"job {self.job_id} was cancelled")
        if interruption.is_requested():
            raise JobInterruptedError(f"the worker of job {self.job_id} is being stopped")

    @contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Send heartbeats from a thread during the block."""
        stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(self.catalog.settings.job_stale_after_s / jobs.HEARTBEATS_IN_TIME):
                try:
                    with self.catalog.database.write() as session:
                        if jobs.heartbeat(session, self.job_id, self.attempt):
                            self._cancelled.set()
                except JobLostError:
                    self._lost.set()
                    return
                except OperationalError as error:  # a database that restarts must not end hours of training
                    log.warning("job %s missed a heartbeat: %s", self.job_id, error)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


_shared: ContextVar[Catalog | None] = ContextVar("shared catalog", default=None)


@contextmanager
def shared_catalog(catalog: Catalog) -> Iterator[None]:
    """Let the jobs that run within the block use one catalog; elsewhere each opens and closes its own."""
    token = _shared.set(catalog)
    try:
        yield
    finally:
        _shared.reset(token)


def run(job_id: str) -> None:
    """Run a job unless it is done or running elsewhere. RQ may call this more than once for one job."""
    catalog = _shared.get()
    if catalog is not None:
        _run(catalog, job_id)
        return
    catalog = Catalog(Settings())
    try:
        _run(catalog, job_id)
    finally:
        catalog.close()


def _run(catalog: Catalog, job_id: str) -> None:
    catalog.refresh_settings()
    with catalog.write() as session:
        job = jobs.claim(session, job_id)
        if job is not None and job.cancel_requested:  # of an attempt that was interrupted before it saw that
            note_cancelled(session, job)
            return
    if job is None:
        log.info("job %s is done or running elsewhere", job_id)
        return
    perform(catalog, job)


def perform(catalog: Catalog, job: Job) -> None:
    """Run a claimed job and store how it ended. All lines that it logs have the fields ``job`` and ``attempt``."""
    with bound(job=job.id, attempt=job.attempt):
        log.info("%s begins", job.key)
        try:
            note_end = _call(JobContext(catalog, job), job)
            with catalog.write() as session:
                note_end(session)
        except JobLostError as error:  # raised by the function or by note_end: another worker has the job
            log.warning("%s stops: %s", job.key, error)


def _call(context: JobContext, job: Job) -> Callable[[Session], None]:
    """Call the function of a job; return the state transition that follows from how it ended."""
    try:
        with context.heartbeats():
            function_of(job.kind)(context, **job.subject)
    except JobLostError:
        raise
    except (Exception, JobTimeLimit) as error:
        return _transition_after(context, job, error)
    log.info("%s is done", job.key)
    return partial(jobs.finish, job_id=job.id, attempt=job.attempt)


def _transition_after(context: JobContext, job: Job, error: BaseException) -> Callable[[Session], None]:
    """Return the state transition for an error: cancelled, handed back, waiting for a service, failed or retried."""
    if isinstance(error, JobCancelledError):
        log.info("%s is cancelled", job.key)
        return partial(note_cancelled, job=job)
    if isinstance(error, JobInterruptedError | JobGivesWayError):
        log.info("%s goes on later: %s", job.key, error)
        told = str(error) if isinstance(error, JobGivesWayError) else jobs.STOPPED
        return partial(jobs.hand_back, job_id=job.id, attempt=job.attempt, message=told)
    if awaits_return(error):
        log.warning("%s waits: %s", job.key, error)
        return partial(jobs.wait_for_service, job_id=job.id, attempt=job.attempt, error=str(error))
    passes = may_pass(error)
    if isinstance(error, UnreadableFileError) and not passes and (aside := set_aside_scenes(context.catalog, error)):
        log.error("%s goes on without scene %s: %s", job.key, " and ".join(aside), error)
        return partial(jobs.hand_back, job_id=job.id, attempt=job.attempt, message=str(error))
    if isinstance(error, PERMANENT) and not passes:
        log.error("%s failed: %s", job.key, error)
        return partial(note_failure, job=job, error=str(error), max_failures=0)
    log.error("%s failed", job.key, exc_info=error)
    attempts = context.catalog.settings.job_attempts
    return partial(note_failure, job=job, error=described(error), max_failures=attempts)
