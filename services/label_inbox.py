"""Record label events of several requests in one transaction (group commit).

A database takes one writer at a time, and a transaction costs about the same for one event as for ten. While one thread
writes, the others leave what they received and wait; the next of them writes all of it.
"""

import threading
from collections import deque
from collections.abc import Sequence

from catalog.context import Catalog
from catalog.event_order import WEBHOOK
from labeling.events import LabelEvent
from services import label_events
from services.label_events import Delivery


class _Left:
    """What a thread has left to be written, and what became of it."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.recorded: list[int] | None = None
        self.error: Exception | None = None


class LabelInbox:
    """Takes webhooks from the threads that answer requests."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._left: deque[_Left] = deque()
        self._writing = threading.Lock()

    def record(self, events: Sequence[LabelEvent], body: bytes) -> list[int]:
        """Store the events of one webhook in the ledger, see `services.label_events.record_all`; return when committed.

        An error of the database is raised for the events that caused it alone.

        Returns:
            The ids of the events that were new.
        """
        own = _Left(Delivery(events, body))
        self._left.append(own)  # before the lock is asked for: whoever holds it next finds it
        with self._writing:
            if own.recorded is None and own.error is None:
                self._write([self._left.popleft() for _ in range(len(self._left))])
        if own.error is not None:
            raise own.error
        return own.recorded or []

    def _write(self, together: Sequence[_Left]) -> None:
        try:
            with self._catalog.write() as session:
                new = label_events.record_all(session, [left.delivery for left in together], WEBHOOK)
                numbers = [[row.id for row in rows] for rows in new]
        except Exception as error:
            if len(together) == 1:
                together[0].error = error
                return
            for left in together:
                self._write([left])
            return
        for left, recorded in zip(together, numbers, strict=True):
            left.recorded = recorded
