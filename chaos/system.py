"""A running ``glacier-al up`` with small networks and short intervals, as its operator and its killer see it."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast
from xmlrpc.client import Error, ServerProxy

import psutil
import requests
from supervisor.xmlrpc import SupervisorTransport

from catalog.context import Catalog
from catalog.settings import Settings
from catalog.settings_sources import variable
from cli.plan import HOST

LEASE_S: Final = 6.0
"""A job without a heartbeat for this long is given to another worker."""
START_S: Final = 1200.0
_STOP_S: Final = 90.0

PARTS: Final = (
    "redis",
    "mlflow",
    "label-studio",
    "api",
    "worker-labels",
    "worker-io",
    "worker-upkeep",
    "worker-compute",
    "clock",
)
_SMALL: Final[Mapping[str, object]] = {
    "patch_size_px": 32,
    "unet_depth": 1,
    "unet_width": 4,
    "fine_tune_steps": 12,
    "fine_tune_batch_size": 4,
    "map_orientations": "one",
    "mc_passes": 2,
    "round_size": 8,
    "fine_tune_after_labels": 4,
    "random_start_rounds": 1,
    "auto_rounds": True,
    "gate_margin": 1.0,  # promotions are what is wanted here, not good versions
    "gate_class_margin": 1.0,
    "torch_threads": 1,
    "sweep_interval_s": 2.0,
    "reconcile_interval_s": 20.0,
    "job_stale_after_s": LEASE_S,
}


class System:
    """The system of one data folder.

    Args:
        var_dir: Its data folder.
        proxy_url: The HTTP proxy between our processes and MLflow or Label Studio; None: there is none.
        changes: Settings besides those of a small system.
        environ: Variables for our processes.
    """

    def __init__(
        self,
        var_dir: Path,
        proxy_url: str | None,
        changes: Mapping[str, object],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.var_dir = var_dir
        # Ports of its own: a system that is killed must find the same ones free when it is started again.
        ports = {name: _free_port() for name in ("api_url", "mlflow_url", "label_studio_url", "redis_url")}
        urls = {
            name: f"redis://{HOST}:{port}/0" if name == "redis_url" else f"http://{HOST}:{port}"
            for name, port in ports.items()
        }
        values = {"var_dir": str(var_dir), **urls, **_SMALL, **changes}
        given = {
            variable(name): value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
        }
        self._changes = {**_SMALL, **changes}
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._environ = {
            **inherited,
            **given,
            **(environ or {}),
            **({} if proxy_url is None else {"http_proxy": proxy_url}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: Settings | None = None

    # As its operator

    def start(self) -> None:
        """Start ``glacier-al up``; return when all parts are ready.

        Raises:
            RuntimeError: It ended, or was not ready in time.
        """
        self.var_dir.mkdir(parents=True, exist_ok=True)
        (self.var_dir / "logs").mkdir(exist_ok=True)
        with (self.var_dir / "logs" / "chaos-up.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait("all parts to be ready", self.is_ready, START_S)

    def stop(self) -> None:
        """Stop it as Ctrl-C does; kill what is left."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            for process in self._descendants():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.kill()
            self._process.wait()

    def wait(self, what: str, done: Callable[[], bool], patience_s: float) -> None:
        """Wait until `done`.

        Raises:
            RuntimeError: It was not in time, or `up` ended.
        """
        deadline = time.monotonic() + patience_s
        while not done():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"`up` ended while waiting for {what}; see {self.var_dir / 'logs'}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not happen within {patience_s:.0f} s; see {self.var_dir / 'logs'}")
            time.sleep(0.5)

    def is_ready(self) -> bool:
        """Return whether the API says that all parts are ready."""
        try:
            answer = requests.get(f"{self.settings.api_url}/readyz", timeout=10)
        except (OSError, KeyError, json.JSONDecodeError):
            return False
        return bool(answer.status_code == requests.codes.ok)

    @property
    def settings(self) -> Settings:
        """The settings with the addresses in use; while `up` does not run, those that it used.

        Raises:
            FileNotFoundError: `up` has never run.
        """
        try:
            addresses = json.loads((self.var_dir / "running.json").read_text())
        except FileNotFoundError:
            if self._settings is None:
                raise
        else:
            self._settings = Settings(**{**self._changes, "var_dir": self.var_dir, **addresses})
        return self._settings

    def catalog(self) -> Catalog:
        """Open the catalog; to be closed by the caller."""
        return Catalog(self.settings)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        """Call the API as the operator."""
        settings = self.settings
        token = json.loads(settings.secrets_file.read_text())["operator_token"]
        return requests.post(
            f"{settings.api_url}/api/v1/{path}",
            json=dict(body or {}),
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )

    # As its killer

    @property
    def up_pid(self) -> int:
        """The process of `up`."""
        if self._process is None:
            raise RuntimeError("the system was not started")
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether `up` has ended, though nobody stopped it."""
        return self._process is not None and self._process.poll() is not None

    def restart_killed(self) -> None:
        """Start `up` again after it was killed, or has ended by itself."""
        if self._process is not None:
            self._process.wait()
        (self.var_dir / "running.json").unlink(missing_ok=True)
        self.start()

    def tree(self, part: str) -> list[psutil.Process]:
        """Return the process of a part and its descendants; empty while it does not run."""
        return _family(self._statuses().get(part, ("", 0))[1])

    def trees(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of each part as `tree` does, and those of ``up`` and ``supervisord`` alone."""
        supervisord = int((self.var_dir / "supervisor" / "supervisord.pid").read_text())
        listed = {"up": _family(self.up_pid)[:1], "supervisord": _family(supervisord)[:1]}
        return listed | {part: _family(pid) for part, (_, pid) in self._statuses().items()}

    def revive(self) -> list[str]:
        """Start the parts again that supervisord has given up, as an operator would; return their names."""
        given_up = [name for name, (state, _) in self._statuses().items() if state in {"FATAL", "EXITED", "STOPPED"}]
        for name in given_up:
            group = "services" if name in PARTS[:3] else "own"
            with suppress(Error, OSError, http.client.HTTPException), self._supervisord() as server:
                server.supervisor.startProcess(f"{group}:{name}", False)
        return given_up

    def _descendants(self) -> list[psutil.Process]:
        try:
            found: list[psutil.Process] = psutil.Process(self.up_pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return found

    def _supervisord(self) -> ServerProxy:
        pid = (self.var_dir / "supervisor" / "supervisord.pid").read_text().strip()
        socket = f"unix:///proc/{pid}/cwd/supervisor.sock"  # the path of a socket has to be short
        return ServerProxy("http://localhost", SupervisorTransport(None, None, socket))

    def _statuses(self) -> dict[str, tuple[str, int]]:
        try:
            with self._supervisord() as server:
                listed = cast(list[dict[str, Any]], server.supervisor.getAllProcessInfo())
        except (Error, OSError, http.client.HTTPException):
            return {}
        return {item["name"]: (item["statename"], item["pid"]) for item in listed}


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants; empty if it does not run."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)] if pid else []
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    """Return a port that nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
