"""Notices when the clock of the machine was set or the database was away, and mends what a set clock leaves."""

import logging
import time
from collections.abc import Callable
from typing import Final

from catalog import jobs, set_back_clock
from catalog.context import Catalog

log = logging.getLogger(__name__)

NOTICED_S: Final = 5.0
"""A clock that gains or loses less between two looks was not set."""


class ClockWatch:
    """Compares the clock with one that only counts seconds.

    Args:
        catalog: Where times are noted.
        clock: Seconds since 1970, by a clock that may be set.
        counter: Seconds since some moment, by one that cannot.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Callable[[], float] = time.time,
        counter: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._clock, self._counter = clock, counter
        self._lead: float | None = None
        self._trusted_from = self._looked_at = counter()

    def look(self) -> bool:
        """Have times brought back if the clock was set back since the last look, or perhaps before the first.

        Returns:
            As `heartbeats_tell`.
        """
        self._looked_at = self._counter()
        lead = self._clock() - self._counter()
        gained = None if self._lead is None else lead - self._lead
        if gained is None or gained < -NOTICED_S:
            with self._catalog.write() as session:
                changed = set_back_clock.bring_back(session)
            if changed:
                told = ", ".join(f"{count} of {table}" for table, count in changed.items())
                log.warning("the clock was set back: times that lay ahead are brought back to now, in rows: %s", told)
        if gained is not None and gained > NOTICED_S:
            log.warning("the clock was set ahead by %.0f s, or this machine has slept", gained)
            self.distrust_heartbeats()
        self._lead = lead  # after the rest: if the database does not answer, the next look does it
        return self.heartbeats_tell()

    def heartbeats_tell(self) -> bool:
        """Return whether a worker without a recent heartbeat is dead; to be asked just before that is judged.

        When the clock was set ahead, the machine has slept, or the database was away, all heartbeats seem old until
        their workers have sent another one. That counts, too, if what came since the last look took so long that a
        worker which had to wait for the database as long would seem dead.
        """
        stale_after_s = self._catalog.settings.job_stale_after_s
        if self._counter() - self._looked_at > stale_after_s - stale_after_s / jobs.HEARTBEATS_IN_TIME:
            self.distrust_heartbeats()
        return self._counter() >= self._trusted_from

    def distrust_heartbeats(self) -> None:
        """Give each worker the time for another heartbeat before the next is judged by its last."""
        self._trusted_from = self._counter() + self._catalog.settings.job_stale_after_s
