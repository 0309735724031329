"""The settings in force, taken in again for requests once a second: a query for each would cost too much."""

import logging
import time
from threading import Lock
from typing import Final

from flask import request
from sqlalchemy.exc import SQLAlchemyError

from catalog.context import Catalog

log = logging.getLogger(__name__)

KEPT_FOR_S: Final = 1.0


class CurrentSettings:
    """Takes in what was changed of the settings, by another process, too."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._due_at = 0.0
        self._turn = Lock()

    def refresh(self) -> None:
        """Refresh the settings if that is due; Flask calls this before every view. Only one request waits for that."""
        if request.endpoint == "static" or time.monotonic() < self._due_at or not self._turn.acquire(blocking=False):
            return
        try:
            self._catalog.refresh_settings()
        except SQLAlchemyError as error:  # some requests are answered without a database
            log.warning("changes of settings could not be read: %s", error)
        finally:
            self._due_at = time.monotonic() + KEPT_FOR_S
            self._turn.release()
