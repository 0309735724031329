"""Linux process controls (``prctl``) that keep child processes from outliving their supervisor.

On other systems the functions do nothing.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # constants of linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent dies; the setting survives ``exec``."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # the parent died before the call
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Make this process, instead of process 1, the new parent of descendants whose parent dies (child subreaper).

    The setting survives ``exec``; children do not inherit it.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, argument)
