"""Messages of ``glacier-al up`` while the system runs: which parts are ready, have ended, or are down."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cli.errors import ForeignServerError
from cli.plan import Process
from cli.readiness import Check
from cli.supervisor import EARLY_END_S, FOLDER, RESTARTS, State, Status, group_of

START_TIMEOUT_S = 300.0  # Label Studio creates its database at the first start: 30 s alone, minutes on a busy machine
FOREIGN_S = 10.0  # what a killed server left behind may listen a moment longer
_TAIL_LINES = 20


class Watch:
    """Tracks the status of each process, and reports each change once.

    Args:
        processes: The started processes.
        checks: Readiness checks by the name of a process; one without a check is ready once it runs.
        var_dir: Folder of the logs.
        say: Gets each message.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        checks: Mapping[str, Check],
        var_dir: Path,
        say: Callable[[str], None],
    ) -> None:
        self._processes = {process.name: process for process in processes}
        self._checks = checks
        self._var_dir = var_dir
        self._say = say
        self._begun = time.monotonic()
        self._waiting = dict.fromkeys(self._processes, self._begun)  # name: since when, on the monotonic clock
        self._ended: set[str] = set()
        self._down: set[str] = set()
        self._late: set[str] = set()
        self._foreign: dict[str, float] = {}  # name: since when another program answers in its place
        self._pids: dict[str, int] = {}

    @property
    def settled(self) -> bool:
        """Whether each process is ready, or was reported as down or late."""
        return set(self._waiting) <= self._down | self._late

    @property
    def missing(self) -> list[str]:
        """Names of the processes that are not ready."""
        return list(self._waiting)

    def look(self, statuses: Mapping[str, Status]) -> None:
        """Compare the statuses with the earlier ones, check processes that are not ready, and report changes."""
        for name, status in statuses.items():
            if status.pid != (before := self._pids.get(name, status.pid)) and before:
                self._note_end(name)
            self._pids[name] = status.pid
            if status.state is State.FATAL:
                self._note_given_up(name)
            elif status.pid:
                self._down.discard(name)
        for name in [name for name in self._waiting if name in statuses and name not in self._down]:
            if self._is_ready(name, statuses[name]):
                self._note_ready(name)
            elif time.monotonic() - self._waiting[name] > START_TIMEOUT_S:
                self._note_late(name)

    def _is_ready(self, name: str, status: Status) -> bool:
        if status.state not in {State.STARTING, State.RUNNING}:
            return False
        try:
            is_ready = name not in self._checks or self._checks[name](status)
        except ForeignServerError as error:
            self._note_foreign(name, error)
            return False
        self._foreign.pop(name, None)
        return is_ready

    def _note_end(self, name: str) -> None:
        self._say(f"{name} ended by itself and is started again.")
        self._waiting[name] = time.monotonic()
        self._ended.add(name)
        self._late.discard(name)

    def _note_ready(self, name: str) -> None:
        took_s = time.monotonic() - self._waiting.pop(name)
        self._late.discard(name)
        first_start = self._processes[name].first_start
        if first_start is not None:
            first_start.note_complete()
        if name in self._ended:
            self._ended.remove(name)
            self._say(f"{name} is ready again after {took_s:.1f} s.")
        elif name in self._checks:
            others = [other for other in self._waiting if other in self._checks and other not in self._down]
            waiting = f"; waiting for {', '.join(others)}" if others else ""
            self._say(f"  {took_s:5.1f} s  {name} is ready{waiting}")

    def _note_given_up(self, name: str) -> None:
        if name in self._down:
            return
        self._down.add(name)
        self._waiting.setdefault(name, time.monotonic())
        self._say(
            f"{name} is down: it ended {RESTARTS + 1} times, each within {EARLY_END_S} s of its start, and is not "
            f"started again. {self._tail(name)}\nThe other parts go on. Mend the cause, then start it:\n  "
            f"{self._control('start', name)}"
        )

    def _note_foreign(self, name: str, error: ForeignServerError) -> None:
        since = self._foreign.setdefault(name, time.monotonic())
        if name in self._late or time.monotonic() - since < FOREIGN_S:
            return
        self._late.add(name)
        self._say(
            f"{name} is not ready: {error}. It took the port after `up` had found it free. Stop that program, then "
            f"start {name} again:\n  {self._control('restart', name)}\nor start `up` again: it takes another port."
        )

    def _note_late(self, name: str) -> None:
        if name in self._late:
            return
        self._late.add(name)
        self._say(
            f"{name} is not ready: it runs, but has not answered for {START_TIMEOUT_S:.0f} s. {self._tail(name)}\n"
            f"The other parts go on. If it does not come, mend the cause, then start it again:\n  "
            f"{self._control('restart', name)}"
        )

    def _control(self, action: str, name: str) -> str:
        program = shlex.quote(str(Path(sys.executable).with_name("supervisorctl")))
        folder = shlex.quote(str(self._var_dir / FOLDER))
        return f"(cd {folder} && {program} {action} {group_of(self._processes[name])}:{name})"

    def _tail(self, name: str) -> str:
        return tail(self._var_dir / "logs" / f"{name}.log")


def tail(log: Path) -> str:
    """Return the last lines of a log, under its name."""
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:] if log.exists() else []
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in lines)])
