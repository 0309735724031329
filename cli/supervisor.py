"""honcho's manager, taught to stop our processes in order and to leave none behind."""

import ctypes
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Popen
from honcho.process import Process as HonchoProcess

from cli.plan import Process

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# An RQ worker finishes its job on the first signal and gives it up on the second. The rows of the database know what
# was not finished, so that nothing is lost by not waiting for an hour of training.
_ESCALATION = ((signal.SIGTERM, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Supervisor(Manager):  # type: ignore[misc]  # honcho is untyped
    """Runs the processes until one of them ends or SIGINT or SIGTERM arrives; then stops all, services last.

    Attributes:
        failed: Name and exit code of the process that ended by itself, if one did.
    """

    def __init__(
        self, processes: Sequence[Process], log_dir: Path, *, on_start: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        """Prepare to run `processes`.

        Args:
            processes: What to run; started in this order.
            log_dir: Folder of the log files, one for each process and one for ourselves; must exist.
            on_start: Called once, in a thread of its own, when all were started.
            on_stop: Called once, in another thread, before the first is stopped.
        """
        self._own_log = log_file(log_dir, "up").open("a")
        super().__init__(Printer(self._own_log, colour=False))
        self._process_ctor = _Child
        self._waves = [[p.name for p in processes if p.is_service is late] for late in (False, True)]
        self._pid = os.getpid()
        self._stop_begun = threading.Event()
        self._on_start = on_start
        self._on_stop = on_stop
        self.failed: tuple[str, int] | None = None
        for process in processes:
            command = f"exec {shlex.join(process.argv)} >>{shlex.quote(str(log_file(log_dir, process.name)))} 2>&1"
            self.add_process(process.name, command, env=dict(process.env), cwd=str(process.cwd))

    @property
    def stopping(self) -> bool:
        """Whether the processes are being stopped, or are."""
        return self._stop_begun.is_set()

    def loop(self) -> None:
        """Run until everything has ended, the children of our processes included."""
        super().loop()
        # A server may leave children behind, such as the work-horse of a killed worker. All are of its session.
        for state in self._processes.values():
            _kill_session(state["pid"])
        self._own_log.close()

    def terminate(self) -> None:
        """Begin to stop all processes, unless that has begun already. Returns at once."""
        # honcho's children are forks of this program: for a moment they have its signal handlers, too.
        if self._stop_begun.is_set() or os.getpid() != self._pid:
            return
        self._stop_begun.set()
        ended = ((name, state["returncode"]) for name, state in self._processes.items() if "returncode" in state)
        self.failed = next(ended, None)
        # In threads of their own: we may be in a signal handler, and a closed terminal must not hinder the stopping.
        for task in (self._on_stop, self._stop_in_order):
            threading.Thread(target=task, daemon=True).start()

    def kill(self) -> None:
        """Do nothing: honcho calls this 5 s after the first process ended, but the services may still be needed."""

    def _start(self) -> None:
        super()._start()
        threading.Thread(target=self._on_start, daemon=True).start()

    def _stop_in_order(self) -> None:
        _wait(self._all_started, 10.0)
        for wave in self._waves:
            for number, patience_s in _ESCALATION:
                for name in wave:
                    self._signal(name, number)
                if _wait(partial(self._have_ended, wave), patience_s):
                    break

    def _runs(self, name: str) -> bool:
        return "returncode" not in self._processes[name]

    def _have_ended(self, names: Sequence[str]) -> bool:
        return not any(self._runs(name) for name in names)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self._processes[name].get("pid")
        if pid is None or not self._runs(name):
            return
        self._system_print(f"sending {number.name} to {name} (pid {pid})\n")
        if number is signal.SIGKILL:
            _kill_session(pid)
        else:
            self._procmgr.terminate(pid)


class _Child(HonchoProcess):  # type: ignore[misc]  # honcho is untyped
    """A process that ends even if we are killed without a chance to stop it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._child_ctor = partial(Popen, preexec_fn=partial(_die_with_parent, signal.SIGTERM))

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        _die_with_parent(signal.SIGKILL)  # honcho runs each program below a process of its own, which ignores SIGTERM
        super().run(events, ignore_signals)


def log_file(log_dir: Path, name: str) -> Path:
    """Return the path of the log of the process `name`."""
    return log_dir / f"{name}.log"


def _die_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":  # elsewhere there is no such request to the kernel
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))


def _kill_session(session: int) -> None:
    def living() -> list[int]:
        return [pid for pid in psutil.pids() if _lives_in(pid, session)]

    for pid in living():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait(lambda: not living(), 5.0)


def _lives_in(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
