"""The job queues in Redis, which carry job ids to the workers.

The rows of the database are the source of truth: flushing Redis loses no job.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final

from redis import Redis
from redis.exceptions import RedisError

from catalog.errors import ServiceDownError
from catalog.records import Job, JobKind

if TYPE_CHECKING:
    from rq import Queue
    from rq.queue import EnqueueData

LABELS = "labels"
IO = "io"
UPKEEP = "upkeep"
COMPUTE = "compute"
QUEUES = (LABELS, IO, UPKEEP, COMPUTE)
LABELS_LAST = "labels-last"
"""What the workers of "labels" take when no annotation waits: patches of drawings; a file may have hundreds."""
COMPUTE_LAST = "compute-last"
"""What the workers of "compute" take when nothing else waits for them: what people ask for beside the loop."""
LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    LABELS: (LABELS, LABELS_LAST),
    IO: (IO,),
    UPKEEP: (UPKEEP,),
    COMPUTE: (COMPUTE, COMPUTE_LAST),
}
"""The lists in Redis of each queue, in the order in which its workers empty them."""
_LOCK_S = 300.0  # longest hold of a lock whose process has died
ENTRY = "workers.jobs.run"  # a name, so that the enqueuing process need not import the jobs

ASKED_BY_READERS: Final = frozenset(
    {JobKind.PREDICT_SCENE, JobKind.PREDICT_AREA, JobKind.EXPORT_GLIMS, JobKind.COMPARE_SCENES}
)
"""Jobs that come last, and are bounded (setting ``predictions_at_once``)."""
_LAST: Final = ASKED_BY_READERS | {
    JobKind.EXPORT_DATASET,
    JobKind.EXPORT_SUBMISSION,
    JobKind.REPRODUCE_VERSION,
    JobKind.RUN_EXPERIMENT,
}
_COMPUTE_KINDS = _LAST | {
    JobKind.FINE_TUNE,
    JobKind.SCORE_POOL,
    JobKind.SCORE_SHARD,
    JobKind.COMPARE_SERVED,
}
_UPKEEP_KINDS: Final = frozenset({JobKind.BACK_UP, JobKind.CHECK_INSTALLATION, JobKind.READ_SCENE})
BEFORE_EXPERIMENTS: Final = _COMPUTE_KINDS - {JobKind.RUN_EXPERIMENT}
"""Jobs to which an experiment gives way between two of its parts, since it may take hours."""


def queue_of(kind: JobKind) -> str:
    """Return the queue of a kind of job.

    Jobs that compute for long have their own queue, and so has label ingestion: a label must not wait until a
    scene is tiled. So have those that read every file of the raster store, or all pixels of a scene whose disk or host
    may be failing, "upkeep": a round must not wait for hours. All other jobs, which mostly wait for files and services,
    share the queue "io".
    """
    if kind in _COMPUTE_KINDS:
        return COMPUTE
    if kind in _UPKEEP_KINDS:
        return UPKEEP
    return LABELS if kind is JobKind.INGEST_LABEL else IO


def _list_of(job: Job) -> str:
    if job.kind is JobKind.INGEST_LABEL and job.subject.get("comes_last"):
        return LABELS_LAST
    return COMPUTE_LAST if job.kind in _LAST else queue_of(job.kind)


class JobQueue:
    """The RQ queues behind one address."""

    def __init__(self, url: str, time_limit_s: Callable[[JobKind], int], timeout_s: float = 2.0) -> None:
        """Make the queues; nothing is connected yet.

        Args:
            url: address of Redis.
            time_limit_s: returns the time limit of jobs of a kind.
            timeout_s: how long a call of Redis may take; the next sweep pushes jobs that could not be pushed.
        """
        self.connection = Redis.from_url(url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s)
        self._time_limit_s = time_limit_s

    @cached_property
    def _queues(self) -> "dict[str, Queue]":
        from rq import Queue  # imported at the first push: many processes never enqueue
        from rq.serializers import JSONSerializer

        names = (name for lists in LISTS.values() for name in lists)
        return {name: Queue(name, connection=self.connection, serializer=JSONSerializer) for name in names}

    def push(self, jobs: Sequence[Job]) -> None:
        """Put the ids of jobs on their queues, in one call of Redis for each queue.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        by_list: dict[str, list[EnqueueData]] = defaultdict(list)
        for job in jobs:
            by_list[_list_of(job)].append(self._data(job))
        try:
            for name, data in by_list.items():
                self._queues[name].enqueue_many(data)
        except RedisError as error:
            raise ServiceDownError("Redis", self.address, str(error)) from error

    def _data(self, job: Job) -> "EnqueueData":
        from rq import Queue

        return Queue.prepare_data(
            ENTRY,
            (job.id,),
            job_id=rq_id(job.id, job.attempt),
            timeout=self._time_limit_s(job.kind),
            result_ttl=0,
            failure_ttl=3600,
        )

    def push_missing(self, jobs: list[Job]) -> int:
        """Push the jobs that Redis does not hold; return their number.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        try:
            held = {held_id for queue in self._queues.values() for held_id in queue.get_job_ids()}
        except RedisError as error:
            raise ServiceDownError("Redis", self.address, str(error)) from error
        missing = [job for job in jobs if rq_id(job.id, job.attempt) not in held]
        self.push(missing)
        return len(missing)

    def workers(self) -> dict[str, int]:
        """Return how many workers listen to each queue.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        from rq import Worker

        try:
            return {name: Worker.count(queue=self._queues[name]) for name in QUEUES}
        except RedisError as error:
            raise ServiceDownError("Redis", self.address, str(error)) from error

    @contextmanager
    def exclusively(self, task: str) -> Iterator[None]:
        """Let one process at a time enter the blocks of a task; others wait. A dead process holds nobody up for long.

        Raises:
            ServiceDownError: Redis does not answer.
        """
        try:
            with self.connection.lock(f"glacier-al:{task}", timeout=_LOCK_S):
                yield
        except RedisError as error:
            raise ServiceDownError("Redis", self.address, str(error)) from error

    @property
    def address(self) -> str:
        """Host and port, or the path of the socket; without the password."""
        options = self.connection.connection_pool.connection_kwargs
        return str(options["path"]) if "path" in options else f"{options['host']}:{options['port']}"


def rq_id(job_id: str, attempts: int) -> str:
    """Return RQ's id of a job: our id and the number of starts, because RQ needs a new id for each attempt."""
    return f"{job_id}-{attempts}"
