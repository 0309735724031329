"""The signal by which a worker that is shutting down interrupts its running job.

The job stops at its next progress report and is queued again; this is not counted as a failure.
"""

import os
import signal
import threading
from contextlib import suppress

_SIGNAL = signal.SIGUSR1  # RQ uses SIGINT and SIGTERM itself
_requested = threading.Event()


def listen() -> None:
    """Install the signal handler. Call it before the fork, so that the process of a job has it from its start."""
    signal.signal(_SIGNAL, lambda *_: _requested.set())


def is_requested() -> bool:
    """Return whether this process was asked to interrupt its job."""
    return _requested.is_set()


def interrupt(pid: int) -> None:
    """Send the interruption signal to the process of a job."""
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, _SIGNAL)
