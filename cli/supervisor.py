"""Run all processes under supervisord, which restarts processes that end, and stops our own before the services.

supervisord provides the back-off and limit of restarts, the time limits of stopping, and log rotation. This module adds
the start through ``cli.launch``, and ends orphans of killed processes, so that nothing outlives its parent.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self, cast
from xmlrpc.client import Error, ServerProxy  # only our own supervisord answers  # nosec B411

import psutil
from supervisor.xmlrpc import SupervisorTransport

from catalog.process_tree import adopt_orphans
from cli.plan import Process

FOLDER = "supervisor"  # below var_dir; supervisorctl finds its configuration when called in this folder
PROGRAMS = "programs.json"
# The path of a socket is limited to 107 bytes. This one is short, and valid for each process that works in `FOLDER`.
SOCKET = "/proc/self/cwd/supervisor.sock"

# A process that ends within a minute of its start is restarted after 1 s, then 2 s, ... 5 s, and then given up. One
# that ran longer is restarted at once, and its count starts again.
EARLY_END_S = 60
RESTARTS = 5

_GROUPS = ("services", "own")
_LOG_BYTES = 10 * 2**20
_LOG_GENERATIONS = 3
_START_S = 20.0
_LEFTOVERS_S = 25.0  # after the death of supervisord its processes get SIGTERM and this time


class State(StrEnum):
    """States of a process, as supervisord names them."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Status:
    """The status of a process according to supervisord.

    Attributes:
        state: Its state; FATAL if it was given up.
        pid: Its process id; 0 while it does not run.
        started: When it was last started, truncated to the second.
    """

    state: State
    pid: int
    started: datetime


class Supervisor:
    """Runs processes under a supervisord during the block.

    Args:
        processes: The processes, in the order of their start.
        var_dir: Gets the folders `FOLDER` and ``logs``.
    """

    def __init__(self, processes: Sequence[Process], var_dir: Path) -> None:
        self._processes = {process.name: process for process in processes}
        self._folder = var_dir / FOLDER
        for folder in (self._folder, var_dir / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._statuses: dict[str, Status] = {}
        # The host name is not used, because the transport is the socket.
        self._server = ServerProxy("http://localhost", SupervisorTransport(None, None, f"unix://{SOCKET}"))

    def __enter__(self) -> Self:
        adopt_orphans()  # become the parent of its processes if supervisord is killed
        self._others = {child.pid for child in psutil.Process().children()}
        self._write(PROGRAMS, json.dumps(self._programs()))
        self._write("supervisord.conf", self._configuration())
        socket = self._folder / Path(SOCKET).name
        socket.unlink(missing_ok=True)
        self._supervisord = subprocess.Popen(
            [sys.executable, "-m", "cli.launch", PROGRAMS, "supervisord"],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # only this process gets Ctrl-C, and then stops supervisord
        )
        deadline = time.monotonic() + _START_S
        while self.runs and not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        # If supervisord was killed, its children have just got SIGTERM from the kernel.
        self._end_leftovers(0.0 if self._supervisord.wait() == 0 else _LEFTOVERS_S)
        self._server("close")()
        (self._folder / PROGRAMS).unlink(missing_ok=True)

    @property
    def runs(self) -> bool:
        """Whether supervisord runs."""
        return self._supervisord.poll() is None

    def statuses(self) -> dict[str, Status]:
        """Return the status of each process according to supervisord, and kill orphans of processes that died.

        Returns:
            Status by the name of the process; empty if supervisord does not answer, as while it stops.
        """
        with suppress(psutil.NoSuchProcess):
            # Children are listed first: a child that is missing in the later list is an orphan of a process that died.
            children = psutil.Process(self._supervisord.pid).children()
            statuses = self._ask()
            if statuses:
                listed = {status.pid for status in statuses.values()}
                _kill([child for child in children if child.pid not in listed])
            return statuses
        return {}

    def stop(self) -> None:
        """Tell supervisord to stop all processes in order, and then itself; return at once."""
        if self.runs:
            self._supervisord.terminate()

    def kill_our_own(self) -> None:
        """Kill our own processes instead of waiting for their jobs. The services are stopped as usual."""
        self._kill_children([status.pid for name, status in self._statuses.items() if self._processes[name].is_service])

    def kill_all(self) -> None:
        """Kill all processes."""
        self._kill_children([])

    def _ask(self) -> dict[str, Status]:
        try:
            with chdir(self._folder):
                listed = cast(list[dict[str, Any]], self._server.supervisor.getAllProcessInfo())
        except (Error, OSError, HTTPException):
            return {}
        self._statuses = {
            item["name"]: Status(State(item["statename"]), item["pid"], datetime.fromtimestamp(item["start"], UTC))
            for item in listed
        }
        return self._statuses

    def _kill_children(self, spared: Collection[int]) -> None:
        with suppress(psutil.NoSuchProcess):
            _kill([child for child in psutil.Process(self._supervisord.pid).children() if child.pid not in spared])

    def _end_leftovers(self, patience_s: float) -> None:
        """Wait for the processes that supervisord left behind; kill those that still run after ``patience_s``."""

        def adopted() -> list[psutil.Process]:
            return [child for child in psutil.Process().children() if child.pid not in self._others]

        deadline = time.monotonic() + patience_s
        while left := adopted():
            if time.monotonic() >= deadline:
                _kill(left)
            psutil.wait_procs(left, 0.2)  # also reaps them, so that no zombies remain

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def _programs(self) -> dict[str, Any]:
        """Return the description of each program for ``cli.launch``, by name."""
        programs: dict[str, Any] = {
            name: {
                "argv": process.argv,
                "env": dict(process.env),
                "cwd": str(process.cwd),
                "first_start": process.first_start
                and (str(process.first_start.database), dict(process.first_start.rows_of_users)),
                "adopts_orphans": False,
            }
            for name, process in self._processes.items()
        }
        programs["supervisord"] = {
            "argv": [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
            "env": {**os.environ, "PYTHONPATH": _python_path(), "GLACIER_PYTHON": sys.executable},
            "cwd": str(self._folder),
            "first_start": None,
            "adopts_orphans": True,
        }
        return programs

    def _configuration(self) -> str:
        """Return supervisord's configuration. It contains no absolute path, so nothing needs escaping."""
        rotation = {"maxbytes": _LOG_BYTES, "backups": _LOG_GENERATIONS}
        sections: dict[str, dict[str, Any]] = {
            "supervisord": {
                "nodaemon": "true",
                "silent": "true",
                "nocleanup": "true",
                "logfile": "../logs/up.log",
                **{f"logfile_{key}": value for key, value in rotation.items()},
                "pidfile": "supervisord.pid",
            },
            "unix_http_server": {"file": SOCKET, "chmod": "0700"},
            "supervisorctl": {"serverurl": f"unix://{SOCKET}"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        for priority, (name, process) in enumerate(self._processes.items(), start=1):
            sections[f"program:{name}"] = {
                "command": f'"%(ENV_GLACIER_PYTHON)s" -m cli.launch {PROGRAMS} {name}',
                "priority": priority,
                "autorestart": "true",
                "startsecs": EARLY_END_S,
                "startretries": RESTARTS,
                "stopwaitsecs": process.stop_s,
                "stopasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": f"../logs/{name}.log",
                **{f"stdout_logfile_{key}": value for key, value in rotation.items()},
            }
        # Groups are stopped one after the other, the highest number first.
        for priority, group in enumerate(_GROUPS, start=1):
            names = [name for name, process in self._processes.items() if group_of(process) == group]
            if names:
                sections[f"group:{group}"] = {"programs": ",".join(names), "priority": priority}
        return "\n".join(
            line
            for title, entries in sections.items()
            for line in [f"[{title}]", *(f"{k}={v}" for k, v in entries.items()), ""]
        )


def group_of(process: Process) -> str:
    """Return the name of a process's group, which is started and stopped together."""
    return _GROUPS[0] if process.is_service else _GROUPS[1]


def _python_path() -> str:
    """Return a PYTHONPATH by which ``cli.launch`` is found from any folder."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Kill processes with all their descendants."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
