"""``python -m workers.clock``: the scheduler, which enqueues everything that is due; the workers do it.

At each tick it

- pushes jobs again that Redis has lost,
- enqueues a fine-tune when its time limit is reached,
- opens the next round if ``auto_rounds`` is set,
- enqueues the scoring of the pool by a version that was made champion or learner in MLflow's own page,
- enqueues the removal of superseded scorings,
- enqueues the mending of files that were found damaged, and
- at intervals, enqueues the reconciliation with Label Studio, and looks for missing files.
"""

import logging
import signal
import threading
import time

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from catalog import jobs, retention, scorings, set_aside, training
from catalog.context import Catalog
from catalog.errors import ConflictError, ServiceDownError
from catalog.logs import configure_logging
from catalog.records import JobKind, now
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.start import readable_faults
from services import rounds
from services.places import raster_store
from services.promotion import settle_intents
from services.strategies import check_settings

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0  # how long a tick may wait for a busy database


def tick(catalog: Catalog, *, reconcile: bool) -> None:
    """Enqueue everything that is due now.

    Args:
        catalog: the catalog.
        reconcile: whether to enqueue the reconciliation with Label Studio.

    Raises:
        ServiceDownError: Redis does not answer; the rows are committed all the same.
    """
    _follow_aliases(catalog)
    with catalog.write() as session:
        training.enqueue_if_due(session, catalog.settings)
        if reconcile:
            jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
        if reconcile or set_aside.is_due(session) or raster_store(catalog).damaged():
            _enqueue_mending(session)
        retention.enqueue_if_due(session, catalog.settings.keep_scorings)
    _open_next_round(catalog)
    catalog.sweep()
    catalog.queue.note_clock(3 * catalog.settings.sweep_interval_s + _PATIENCE_S)


def _follow_aliases(catalog: Catalog) -> None:
    """Settle unfinished decisions, and enqueue the scoring of the pool if the scoring version has not done it."""
    registry = registry_of(catalog.settings)
    try:
        settle_intents(catalog, registry)
        version = registry.scoring(catalog.settings.scoring_version)
    except ServiceDownError as error:  # the other tasks of a tick do not need MLflow
        log.warning("%s", error)
        return
    if version is not None:
        with catalog.write() as session:
            scorings.enqueue_if_unscored(session, version.version, catalog.settings)


def _enqueue_mending(session: Session) -> None:
    """Enqueue the mending of files, unless the last one has just ended: what it cannot mend, it cannot at once."""
    last = jobs.last_of(session, JobKind.MEND_FILES)
    if last is None or last.finished_at is None or last.finished_at < now() - set_aside.RECHECK_AFTER:
        jobs.enqueue(session, JobKind.MEND_FILES)


def _open_next_round(catalog: Catalog) -> None:
    if not catalog.settings.auto_rounds:
        return
    try:
        with catalog.write() as session:
            if not training.new_labels(session):  # new labels are learnt first
                rounds.open_next_automatically(session, catalog.settings)
    except ConflictError as error:  # not possible yet, e.g. no version has scored the pool
        log.info("the next round waits: %s", error)


@readable_faults()
def main() -> None:
    """Tick until told to stop."""
    configure_logging()
    settings = Settings()
    check_settings(settings)
    catalog = Catalog(settings)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    reconciled_at = float("-inf")
    while not stop.is_set():
        reconcile = time.monotonic() - reconciled_at >= catalog.settings.reconcile_interval_s
        try:
            tick(catalog, reconcile=reconcile)
        except (ServiceDownError, OperationalError) as error:  # Redis or the database; both may come back
            log.warning("%s", error)
        else:
            reconciled_at = time.monotonic() if reconcile else reconciled_at
        stop.wait(catalog.settings.sweep_interval_s)
    catalog.close()


if __name__ == "__main__":
    main()
