"""``python -m workers.clock``: the scheduler, which enqueues everything that is due; the workers do it.

At each tick it looks whether the clock of the machine was set, takes in what people changed of the settings, and then

- pushes jobs again that Redis has lost,
- enqueues the scoring of the pool by a version that was made champion or learner in MLflow's own page,
- opens the next round if ``auto_rounds`` is set,
- enqueues a fine-tune when its time limit is reached, or labels that versions learnt from were withdrawn,
- enqueues the removal of superseded scorings and the deliveries of events that are to be tried again,
- enqueues the mending of files that were found damaged, and
- at intervals, enqueues the reconciliation with Label Studio and the comparison of label masks, and looks for missing
  files.

Beside the ticks, each in a thread of its own, because each may have to wait for another service, it watches MLflow's
registry (`services.registry_watch`) and checks the parts of the system (`services.part_checks`).
"""

import logging
import signal
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from catalog import jobs, retention, scorings, set_aside, training
from catalog.context import Catalog
from catalog.errors import ConflictError, ServiceDownError
from catalog.logs import configure_logging
from catalog.records import JobKind, now
from catalog.registry_copy import RegistryCopy
from catalog.settings import Settings
from catalog.start import readable_faults
from imagery.store import RasterStore
from services import outgoing_events, rounds
from services.part_checks import CHECK_INTERVAL_S, check_parts
from services.places import raster_store
from services.registry_watch import WATCH_INTERVAL_S, RegistryWatcher
from services.strategies import check_settings
from workers.clock_watch import ClockWatch

log = logging.getLogger(__name__)

_JOIN_S = 5.0


def tick(catalog: Catalog, *, reconcile: bool, heartbeats_tell: Callable[[], bool] = lambda: True) -> None:
    """Enqueue everything that is due now.

    Args:
        catalog: the catalog.
        reconcile: whether to enqueue the reconciliation with Label Studio, and what else is done at its intervals.
        heartbeats_tell: says whether a worker without a recent heartbeat is dead, see `workers.clock_watch`.

    Raises:
        ServiceDownError: Redis does not answer; the rows are committed all the same.
    """
    catalog.refresh_settings()
    version = RegistryCopy(catalog).scoring(catalog.settings.scoring_version)
    with catalog.write() as session:
        if version is not None:
            scorings.enqueue_if_unscored(session, version.version, catalog.settings)
        if reconcile:
            jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
            jobs.enqueue(session, JobKind.COMPARE_MASKS)
        if reconcile or set_aside.is_due(session) or _has_damaged(raster_store(catalog)):
            _enqueue_mending(session)
        retention.enqueue_if_due(session, catalog.settings.keep_scorings)
        outgoing_events.enqueue_due(session)
    _open_next_round(catalog)
    # After the round: it waits for an open fine-tune, and corrections call for more.
    with catalog.read() as session:
        is_due = training.why_due(session, catalog.settings) is not None
    if is_due:
        with catalog.write() as session:
            training.enqueue_if_due(session, catalog.settings)
    catalog.sweep(heartbeats_tell=heartbeats_tell())


def watched_tick(catalog: Catalog, watch: ClockWatch, *, reconcile: bool) -> bool:
    """Look at the clock, then `tick`; return False if the database or Redis did not answer: both may come back."""
    try:
        watch.look()
        tick(catalog, reconcile=reconcile, heartbeats_tell=watch.heartbeats_tell)
    except ServiceDownError as error:
        log.warning("%s", error)
    except OperationalError as error:
        log.warning("%s", error)
        watch.distrust_heartbeats()  # no worker could send one meanwhile
    else:
        return True
    return False


def _has_damaged(store: RasterStore) -> bool:
    """Return whether a file was found damaged. A store on another machine, which may not answer, is not asked."""
    return store.is_local and bool(store.damaged())  # its damaged files are mended at the next interval


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
            rounds.open_next_automatically(session, catalog.settings)
    except ConflictError as error:  # not possible yet, e.g. no version has scored the pool
        log.info("the next round waits: %s", error)


def repeat(name: str, action: Callable[[], None], interval_s: float, stop: threading.Event) -> threading.Thread:
    """Start a thread that does something again and again until `stop` is set; an error is logged and ends nothing."""

    def loop() -> None:
        while not stop.is_set():
            try:
                action()
            except Exception:
                log.exception("%s failed; it is tried again", name)
            stop.wait(interval_s)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


@readable_faults()
def main() -> None:
    """Tick until told to stop."""
    settings = Settings()
    configure_logging(settings.log_format)
    check_settings(settings)
    catalog = Catalog(settings)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    threads = [
        repeat("the watch of MLflow's registry", RegistryWatcher(catalog).look, WATCH_INTERVAL_S, stop),
        repeat("the check of the parts", lambda: check_parts(catalog), CHECK_INTERVAL_S, stop),
    ]
    watch = ClockWatch(catalog)
    reconciled_at = float("-inf")
    while not stop.is_set():
        reconcile = time.monotonic() - reconciled_at >= catalog.settings.reconcile_interval_s
        if watched_tick(catalog, watch, reconcile=reconcile) and reconcile:
            reconciled_at = time.monotonic()
        stop.wait(catalog.settings.sweep_interval_s)
    for thread in threads:
        thread.join(_JOIN_S)
    catalog.close()


if __name__ == "__main__":
    main()
