"""Record label events of several requests in one transaction (group commit).

A database takes one writer at a time, and a transaction costs about the same for one event as for ten. While one thread
writes, the others leave what they received and wait; the next of them writes all of it.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from catalog.context import Catalog
from catalog.event_order import WEBHOOK
from catalog.records import BytesToStore
from labeling.events import LabelEvent
from services import label_events
from services.label_events import Delivery

_Left = tuple[Delivery, Future[list[int]]]


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
        recorded: Future[list[int]] = Future()
        delivery = Delivery(events, BytesToStore(body))
        self._left.append((delivery, recorded))  # before the lock: whoever holds it next finds it
        with self._writing:
            if not recorded.done():
                self._write([self._left.popleft() for _ in range(len(self._left))])
        return recorded.result(timeout=0)  # never waits: an error, should the writer have been ended

    def _write(self, together: Sequence[_Left]) -> None:
        try:
            with self._catalog.write() as session:
                new = label_events.record_all(session, [delivery for delivery, _ in together], WEBHOOK)
                numbers = [[row.id for row in rows] for rows in new]
        except Exception as error:  # raised by the thread whose events caused it
            if len(together) == 1:
                together[0][1].set_exception(error)
                return
            for left in together:
                self._write([left])
            return
        for (_, recorded), ids in zip(together, numbers, strict=True):
            recorded.set_result(ids)
