"""``python -m workers.main labels|io|upkeep|compute``: an RQ worker of one queue, which loads its libraries once.

Jobs of "labels" share the process of their worker (`workers.label_worker`); each job of the other queues has a forked
one (`workers.forking_worker`).
"""

import argparse
import os
from importlib import import_module
from typing import Any, Final

from redis import Redis
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from catalog.context import Catalog
from catalog.job_queue import COMPUTE, IO, LABELS, LISTS, QUEUES, UPKEEP, queue_of
from catalog.logs import configure_logging
from catalog.records import JobKind
from catalog.settings import Settings
from catalog.start import readable_faults
from workers import interruption
from workers.forking_worker import ForkingWorker
from workers.job_functions import function_of
from workers.label_worker import LabelWorker
from workers.worker_base import note_killed

# An idle worker checks for abandoned jobs only after this time; RQ's default is seven minutes.
WORKER_TTL_S = 45

NICENESS: Final = {LABELS: 10, IO: 10, UPKEEP: 15, COMPUTE: 15}
"""How far the worker of a queue stands back where all want the same cores: the API has people and Label Studio waiting,
who give up after a second. It costs a worker nothing while cores are free; beside an API that wants a core for itself,
ten steps leave it a tenth of that core, fifteen a thirtieth (docs/benchmarks.md)."""


def preload(queue: str) -> None:
    """Import the functions of all jobs of a queue, and with them their libraries."""
    for kind in JobKind:
        if queue_of(kind) == queue:
            function_of(kind)
    if queue in {LABELS, IO}:
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


def make_worker(queue: str, settings: Settings) -> BaseWorker:
    """Return the worker of a queue."""
    shared: dict[str, Any] = {
        "connection": Redis.from_url(settings.redis_url),
        "serializer": JSONSerializer,
        "worker_ttl": WORKER_TTL_S,
    }
    if queue == LABELS:
        return LabelWorker(list(LISTS[queue]), catalog=Catalog(settings), **shared)
    return ForkingWorker(list(LISTS[queue]), work_horse_killed_handler=note_killed, **shared)


@readable_faults()
def main() -> None:
    """Work on one queue until told to stop; a running job is finished first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("queue", choices=QUEUES)
    parser.add_argument("--burst", action="store_true", help="stop when the queue is empty")
    arguments = parser.parse_args()
    settings = Settings()
    os.nice(NICENESS[arguments.queue])
    configure_logging(settings.log_format)
    os.environ |= settings.as_environment()  # every job uses these, even if config.toml is edited meanwhile
    prepare_threads(settings)
    preload(arguments.queue)
    interruption.listen()
    worker = make_worker(arguments.queue, settings)
    worker.work(burst=arguments.burst, logging_level="WARNING")


if __name__ == "__main__":
    main()
