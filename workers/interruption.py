"""How a worker that is told to stop tells its running job: by a signal to the process of the job.

The job notices when it next notes its progress, and is handed back to the queue without a failure.
"""

import os
import signal
import threading
from contextlib import suppress

_SIGNAL = signal.SIGUSR1  # RQ uses SIGINT and SIGTERM itself
_requested = threading.Event()


def listen() -> None:
    """Note interruptions from now on; called before the fork, so that a job's process listens from its first moment."""
    signal.signal(_SIGNAL, lambda *_: _requested.set())


def is_requested() -> bool:
    """Return whether this process was asked to interrupt its job."""
    return _requested.is_set()


def interrupt(pid: int) -> None:
    """Ask the process of a job to interrupt it."""
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, _SIGNAL)
