"""What a process asks of Linux, so that none of ours outlives those who look after it.

Elsewhere than on Linux there are no such requests, and the functions do nothing.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # these numbers are those of linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies; a program started by ``exec`` keeps this."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it died before the request was made
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Make this process the parent of each descendant whose own parent dies, in place of the machine's first process.

    A program started by ``exec`` keeps this; children do not inherit it.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, argument)
