"""Errors that say nothing about what was to be read: memory or file handles were lacking."""

import errno
import re
from typing import Final

_LACKING: Final = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
# As GDAL, PROJ, GEOS, SQLite within PROJ, and the C library put it.
_SAID: Final = re.compile(
    r"out of memory|not enough memory|cannot allocate|(allocation|malloc\(?\)?) failed|failed to allocate|bad_alloc"
    r"|too many open files",
    re.IGNORECASE,
)


def was_lacking(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, tells of a lack of memory or file handles.

    A scene or file must not be judged by it: what reads it the next time may have them.
    """
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError) or (isinstance(chain, OSError) and chain.errno in _LACKING):
            return True
        if _SAID.search(str(chain)):
            return True
        chain = chain.__cause__
    return False
