"""``python -m workers.clock``: what must happen as time passes, whether or not anybody calls.

It hands over work that Redis has lost, starts a fine-tune when its time limit is reached, keeps the rounds going when
that is wished, and has Label Studio asked for events that its webhook lost. It only enqueues; workers do.
"""

import logging
import signal
import threading
import time

from catalog import jobs, rounds, training
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.records import JobKind
from catalog.settings import Settings

log = logging.getLogger(__name__)


def tick(catalog: Catalog, *, reconcile: bool) -> None:
    """Do everything that is due at this moment.

    Raises:
        ServiceDownError: Redis does not answer; rows are untouched by that.
    """
    with catalog.write() as session:
        training.enqueue_if_due(session, catalog.settings)
        rounds.open_next_automatically(session, catalog.settings)
        if reconcile:
            jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
    catalog.sweep()


def main() -> None:
    """Tick until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    catalog = Catalog(Settings())
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    reconciled_at = float("-inf")
    while not stop.is_set():
        reconcile = time.monotonic() - reconciled_at >= catalog.settings.reconcile_interval_s
        try:
            tick(catalog, reconcile=reconcile)
        except ServiceDownError as error:
            log.warning("%s", error)
        else:
            reconciled_at = time.monotonic() if reconcile else reconciled_at
        stop.wait(catalog.settings.sweep_interval_s)
    catalog.close()


if __name__ == "__main__":
    main()
