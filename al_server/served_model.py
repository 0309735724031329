"""The version that is served, as requests need it: held in memory, read from the local copy of the registry."""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from al_server.context import json_response
from al_server.version_schemas import serialize_version
from catalog import registry_copy
from catalog.context import Catalog
from catalog.registry import ModelVersion
from catalog.registry_records import RegistryState

log = logging.getLogger(__name__)

READ_S: Final = 0.2
"""Age from which the next request reads the copy anew: so old is the answer at most after a decision elsewhere."""


@dataclass(frozen=True)
class Served:
    """The champion and its description.

    Attributes:
        version: The version.
        body: Its description as JSON.
        etag: A hash of the body: aliases may move while the champion stays.
        seen_at: When MLflow last answered; None if it never did.
    """

    version: ModelVersion
    body: bytes
    etag: str
    seen_at: datetime | None


class ServedModel:
    """Gives all request threads the same answer; one of them at a time reads it anew, and the others do not wait."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._known: tuple[float, Served | None] | None = None

    def current(self) -> Served | None:
        """Return the version that is served; None before the first. Call it within a request."""
        known = self._known
        if known is None:
            with self._lock:
                return self._read()
        if time.monotonic() - known[0] > READ_S and self._lock.acquire(blocking=False):
            try:
                return self._read()
            except SQLAlchemyError:
                log.exception("the served version is given as it was last known")
            finally:
                self._lock.release()
        return known[1]

    def _read(self) -> Served | None:
        read_at = time.monotonic()
        with self._catalog.read() as session:
            version, aliases = registry_copy.served(session), registry_copy.aliases_of(session)
            state = session.get(RegistryState, 1)
        found = None
        if version is not None:
            body = json_response(serialize_version(version, aliases)).get_data()
            etag = hashlib.sha256(body).hexdigest()
            found = Served(version, body, etag, state.seen_at if state else None)
        self._known = (read_at, found)
        return found
