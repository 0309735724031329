"""Reading what lies on another machine in a request: in helper processes, with a deadline for the whole request.

A thread that waits for another machine cannot be stopped, and GDAL and the libraries of object stores limit the time of
a connection at most, not that of a read that takes many. A helper is killed at the deadline, and the next read starts
another one.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar, TypeVarTuple

from flask import g
from werkzeug.exceptions import BadGateway, GatewayTimeout

from al_server.turns import FAR_READS
from catalog.settings import Settings
from imagery.store import RasterStore
from services.contained import Helper

log = logging.getLogger(__name__)
_UNREAD: Final = "the files, which lie on another machine, could not be read; the log has more"

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


class FarReader:
    """The helpers of an app; there are at most as many as turns."""

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet: most installations never read from another machine."""
        self._limit_s = settings.far_read_timeout_s
        self._memory_mib = settings.scene_check_memory_mib
        self._idle: list[Helper] = []
        self._lock = Lock()

    def read(self, function: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
        """Call a function in a helper; errors are those of `services.contained.Helper.call`, and these.

        Raises:
            ServiceUnavailable: No turn is free.
            GatewayTimeout: The reads of this request have taken their time.
            BadGateway: The helper has ended, or did not start.
        """
        with FAR_READS.required("reads from other machines"):
            helper = self._take()
            # The time begins when a helper is there: to start the first one takes seconds.
            deadline = g.setdefault("far_deadline", time.monotonic() + self._limit_s)
            try:
                return helper.call(max(0.0, deadline - time.monotonic()), function, *arguments)
            except TimeoutError as error:
                raise GatewayTimeout(
                    f"the machine that holds the files did not send them within {self._limit_s:g} s (setting "
                    "far_read_timeout_s); try again later"
                ) from error
            except (EOFError, OSError) as error:
                log.exception("the process that read from another machine has ended")
                raise BadGateway(_UNREAD) from error
            finally:
                self._give_back(helper)

    def _take(self) -> Helper:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return Helper(self._memory_mib)
        except (EOFError, OSError) as error:
            log.exception("a process that reads from other machines did not start")
            raise BadGateway(_UNREAD) from error

    def _give_back(self, helper: Helper) -> None:
        if helper.is_running:
            with self._lock:
                self._idle.append(helper)


class FarStore(RasterStore):
    """The raster store if it lies on another machine, as requests read it and put files into it."""

    def __init__(self, root: str, reader: FarReader) -> None:
        """Open a store as `RasterStore` does."""
        super().__init__(root)
        self._plain = RasterStore(root)
        self._reader = reader

    def get(self, key: str, sha256: str | None = None) -> bytes:
        """See `RasterStore.get`."""
        return self._reader.read(RasterStore.get, self._plain, key, sha256)

    def fetch(self, key: str, target: Path) -> str:
        """See `RasterStore.fetch`."""
        return self._reader.read(RasterStore.fetch, self._plain, key, target)

    def put(self, key: str, data: bytes) -> str:
        """See `RasterStore.put`."""
        return self._reader.read(RasterStore.put, self._plain, key, data)

    def delete(self, key: str) -> None:
        """See `RasterStore.delete`."""
        self._reader.read(RasterStore.delete, self._plain, key)

    def exists(self, key: str) -> bool:
        """See `RasterStore.exists`."""
        return self._reader.read(RasterStore.exists, self._plain, key)

    def checksum(self, key: str) -> str | None:
        """See `RasterStore.checksum`."""
        return self._reader.read(RasterStore.checksum, self._plain, key)
