"""State transitions of job rows: enqueue, claim, heartbeat, finish, fail, cancel, hand back and retry.

The rows are the source of truth; Redis only carries job ids to the workers (transactional outbox). A job is enqueued in
the transaction that requires it. ``catalog.context.Catalog`` pushes it to Redis after the commit, and ``sweep`` pushes
jobs again that Redis has lost. A job may therefore start twice: only one ``claim`` succeeds, and ``attempt`` is the
fencing token that rejects updates of an attempt that was given up.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, undefer

from catalog.errors import ConflictError, JobLostError, NotFoundError
from catalog.insertion import insert_unless_known
from catalog.paging import Cut, cut_out
from catalog.records import Job, JobKind, JobState, now

OPEN = (JobState.QUEUED, JobState.RUNNING)
UNSUCCESSFUL = (JobState.FAILED, JobState.CANCELLED)
OUTAGE_BACKOFF_S = 15.0  # delay before a job is retried whose service is down
FAILURE_BACKOFF_S = 5.0  # delay before a retry, times the number of failures so far
HEARTBEATS_IN_TIME = 4  # that a worker sends until it counts as dead (`job_stale_after_s`)
CANCELLED = "cancelled by a person"
STOPPED = "its worker was stopped"


def enqueue(session: Session, kind: JobKind, key: str = "", **subject: Any) -> Job:
    """Add a job, or return the open one with the same kind and key.

    Args:
        session: a writing session; the job exists once it commits.
        kind: the kind of job.
        key: distinguishes jobs of the same kind that may be open together, e.g. the id of a scene.
        subject: keyword arguments of the job's function: ids and options, never arrays.
    """
    unique_key = full_key(kind, key)
    existing = _open_with_key(session, unique_key)
    if existing is not None:
        return existing
    job = Job(kind=kind, key=unique_key, subject=subject)
    try:
        with session.begin_nested():
            session.add(job)
    except IntegrityError:  # another process inserted the same job after our query
        added = _open_with_key(session, unique_key)
        if added is None:
            raise
        return added
    enqueued(session).append(job)
    return job


def enqueue_new(session: Session, kind: JobKind, subjects: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a job for each key, all of them new, for instance because they are about rows just added: none is looked for.

    Args:
        session: a writing session.
        kind: the kind of job.
        subjects: subject of the job by key.
    """
    added = [Job(kind=kind, key=full_key(kind, key), subject=dict(subject)) for key, subject in subjects.items()]
    insert_unless_known(session, added, Job.id)
    enqueued(session).extend(added)


def enqueue_all(session: Session, kind: JobKind, subjects: Mapping[str, Mapping[str, Any]]) -> None:
    """Ensure an open job for each key: keep the open job, reopen the failed one, or add a new one.

    Args:
        session: a writing session.
        kind: the kind of job.
        subjects: subject of the job by key.
    """
    of_kind = select(Job).where(Job.kind == kind, Job.state.in_((*OPEN, JobState.FAILED))).order_by(Job.created_at)
    found = sorted(session.scalars(of_kind), key=lambda job: job.state in OPEN)
    existing = {job.key: job for job in found}  # of several with one key, the open one
    for key, subject in subjects.items():
        job = existing.get(full_key(kind, key))
        if job is None:
            job = Job(kind=kind, key=full_key(kind, key), subject=dict(subject))
            session.add(job)
            enqueued(session).append(job)
        elif job.state is JobState.FAILED:
            _reopen(session, job)
    session.flush()


def enqueued(session: Session) -> list[Job]:
    """Return the jobs that this session has enqueued, for Redis to be told of after the commit."""
    noted: list[Job] = session.info.setdefault("enqueued", [])
    return noted


def _open_with_key(session: Session, unique_key: str) -> Job | None:
    return session.scalar(select(Job).where(Job.key == unique_key, Job.state.in_(OPEN)))


def open_of(session: Session, kind: JobKind, key: str = "") -> Job | None:
    """Return the queued or running job with this kind and key; None if there is none."""
    return _open_with_key(session, full_key(kind, key))


def last_of(session: Session, kind: JobKind, key: str = "") -> Job | None:
    """Return the newest job with this kind and key, open or not; None if there is none."""
    statement = select(Job).where(Job.key == full_key(kind, key)).order_by(Job.created_at.desc()).limit(1)
    return session.scalar(statement)


def last_reported(session: Session, kind: JobKind, key: str = "") -> Job | None:
    """Return the newest finished job with this kind and key that left a report, with it; None if there is none."""
    statement = select(Job).where(
        Job.key == full_key(kind, key), Job.state == JobState.FINISHED, Job.report.is_not(None)
    )
    newest = statement.order_by(Job.created_at.desc()).limit(1).options(undefer(Job.report))
    return session.scalar(newest)


def full_key(kind: JobKind, key: str) -> str:
    """Return the unique key of a job: its kind, followed by the key within the kind, if there is one."""
    return f"{kind}:{key}" if key else str(kind)


def is_open(session: Session, kind: JobKind) -> bool:
    """Return whether any job of this kind is queued or running."""
    return session.scalar(select(Job.id).where(Job.kind == kind, Job.state.in_(OPEN)).limit(1)) is not None


def waits(session: Session, kinds: Collection[JobKind]) -> bool:
    """Return whether a job of one of these kinds is queued and may run now."""
    due_now = select(Job.id).where(Job.kind.in_(kinds), Job.state == JobState.QUEUED, Job.run_after <= now())
    return session.scalar(due_now.limit(1)) is not None


def get(session: Session, job_id: str) -> Job:
    """Fetch a job.

    Raises:
        NotFoundError: there is no such job.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"there is no job {job_id!r}")
    return job


def page(session: Session, statement: Select[Job], cut: Cut) -> Sequence[Job]:
    """Return a page of selected jobs, newest first; it is cut at the id of a job.

    Raises:
        NotFoundError: There is no job with this id.
    """
    for job_id in (cut.before, cut.after):
        if job_id is not None:
            get(session, str(job_id))
    return session.scalars(cut_out(statement, Job.id, cut, newest_first=True, moment=Job.created_at)).all()


def claim(session: Session, job_id: str) -> Job | None:
    """Mark a queued job as running in this process; return None if the job is not queued."""
    moment = now()
    claimed_id = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED)
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            started_at=moment,
            heartbeat_at=moment,
            finished_at=None,
            done=0,
            total=0,
            message=None,
        )
        .returning(Job.id)
    ).scalar()
    return session.get(Job, claimed_id, populate_existing=True) if claimed_id else None


def _update_attempt(session: Session, job_id: str, attempt: int, **values: Any) -> None:
    changed = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.attempt == attempt, Job.state == JobState.RUNNING)
        .values(**values)
        .returning(Job.id)
    ).scalar()
    if changed is None:
        raise JobLostError(f"job {job_id} was given to another worker after attempt {attempt} seemed dead")


def heartbeat(session: Session, job_id: str, attempt: int) -> bool:
    """Store the time of a heartbeat.

    Returns:
        Whether someone asked for the job to be cancelled.

    Raises:
        JobLostError: the job has been given to another worker.
    """
    _update_attempt(session, job_id, attempt, heartbeat_at=now())
    return bool(session.scalar(select(Job.cancel_requested).where(Job.id == job_id)))


def report_progress(session: Session, job_id: str, attempt: int, done: int, total: int, message: str) -> bool:
    """Store the progress of a job: ``done`` of ``total`` steps (any unit), and a message for people.

    Returns and raises as `heartbeat`.
    """
    _update_attempt(session, job_id, attempt, done=done, total=total, message=message, heartbeat_at=now())
    return bool(session.scalar(select(Job.cancel_requested).where(Job.id == job_id)))


def keep_report(session: Session, job_id: str, attempt: int, report: Mapping[str, Any]) -> None:
    """Store what a job found.

    Args:
        session: An open transaction.
        job_id: The job.
        attempt: Its attempt.
        report: Numbers, texts, lists and mappings of them, as JSON can hold them.

    Raises:
        JobLostError: the job has been given to another worker.
    """
    _update_attempt(session, job_id, attempt, report=dict(report))


def finish(session: Session, job_id: str, attempt: int) -> None:
    """Mark the job as done."""
    _update_attempt(session, job_id, attempt, state=JobState.FINISHED, finished_at=now(), error=None)


def fail(session: Session, job_id: str, attempt: int, error: str) -> None:
    """Mark the job as failed for good; ``retry`` reopens it."""
    _update_attempt(
        session, job_id, attempt, state=JobState.FAILED, finished_at=now(), error=error, failures=Job.failures + 1
    )


def try_again(session: Session, job_id: str, attempt: int, error: str, max_failures: int) -> bool:
    """Queue a failed job again, with a delay that grows with its failures; fail it for good at ``max_failures``.

    Returns:
        Whether it will be retried.
    """
    failures = get(session, job_id).failures + 1
    if failures >= max_failures:
        fail(session, job_id, attempt, error)
        return False
    delay = timedelta(seconds=FAILURE_BACKOFF_S * failures)
    _update_attempt(
        session, job_id, attempt, state=JobState.QUEUED, run_after=now() + delay, error=error, failures=failures
    )
    return True


def hand_back(session: Session, job_id: str, attempt: int, message: str = STOPPED) -> None:
    """Queue a job again at once; this is not counted as a failure."""
    _update_attempt(session, job_id, attempt, state=JobState.QUEUED, run_after=now(), message=message)
    enqueued(session).append(session.get_one(Job, job_id, populate_existing=True))


def note_cancelled(session: Session, job_id: str, attempt: int) -> None:
    """Mark a running job as cancelled after it has stopped."""
    _update_attempt(session, job_id, attempt, state=JobState.CANCELLED, finished_at=now(), error=CANCELLED)


def request_cancel(session: Session, job_id: str) -> Job:
    """Cancel a queued job at once, or ask a running one to stop; it stops at its next progress report.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has already ended.
    """
    get(session, job_id)
    job = session.get_one(Job, job_id, with_for_update=True, populate_existing=True)
    if job.state not in OPEN:
        raise ConflictError(f"job {job_id} is {job.state} already; only a queued or running job can be cancelled")
    if job.state is JobState.QUEUED:
        job.state, job.finished_at, job.error = JobState.CANCELLED, now(), CANCELLED
    job.cancel_requested = True
    session.flush()
    return job


def cancel_all(session: Session, kind: JobKind, error: str) -> None:
    """Cancel all open jobs of a kind, which no worker is at work on, whatever the revision of the schema."""
    ended = {"state": JobState.CANCELLED, "finished_at": now(), "error": error}
    session.execute(update(Job).where(Job.kind == kind, Job.state.in_(OPEN)).values(ended))


def wait_for_service(session: Session, job_id: str, attempt: int, error: str) -> None:
    """Queue a job again that failed because a service, or all scenes, were away; this is not counted as a failure."""
    delay = timedelta(seconds=OUTAGE_BACKOFF_S)
    _update_attempt(session, job_id, attempt, state=JobState.QUEUED, run_after=now() + delay, error=error)


def retry(session: Session, job_id: str) -> Job:
    """Reopen a failed or cancelled job.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has neither failed nor been cancelled, or another job with its key is open.
    """
    job = get(session, job_id)
    if job.state not in UNSUCCESSFUL:
        raise ConflictError(f"job {job_id} is {job.state}; only a failed or cancelled job can be retried")
    if session.scalar(select(Job.id).where(Job.key == job.key, Job.state.in_(OPEN))):
        raise ConflictError(f"another job {job.key!r} is open already; wait for it")
    _reopen(session, job)
    return job


def _reopen(session: Session, job: Job) -> None:
    job.state, job.failures, job.run_after, job.finished_at = JobState.QUEUED, 0, now(), None
    job.cancel_requested, job.error = False, None
    job.done, job.total, job.message = 0, 0, None
    enqueued(session).append(job)


def stale(session: Session, stale_after_s: float) -> list[Job]:
    """Return the running jobs without a heartbeat for this many seconds: their worker is dead."""
    limit = now() - timedelta(seconds=stale_after_s)
    return list(session.scalars(select(Job).where(Job.state == JobState.RUNNING, Job.heartbeat_at < limit)))


def due(session: Session) -> list[Job]:
    """Return the queued jobs that may run now, oldest first."""
    statement = select(Job).where(Job.state == JobState.QUEUED, Job.run_after <= now()).order_by(Job.created_at)
    return list(session.scalars(statement))


def eta_s(job: Job) -> float | None:
    """Return the estimated remaining seconds of a running job, from its progress so far; None if unknown.

    It is unknown after the last step, which what counts no steps may follow, and in further attempts, which may go on
    where an earlier one ended.
    """
    if job.state is not JobState.RUNNING or job.started_at is None or not 0 < job.done < job.total or job.attempt > 1:
        return None
    elapsed = (now() - job.started_at).total_seconds()
    return elapsed * (job.total - job.done) / job.done
