"""A temporary PostgreSQL server on a loopback port, for tests and benchmarks."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

USER: Final = "glacier"
PROGRAMS: Final = ("postgres", "initdb")
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0


def is_installed() -> bool:
    """Return whether the server's programs are on the path (apt-get install postgresql)."""
    return all(shutil.which(program) for program in PROGRAMS)


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server with default settings, except that it never waits for the disk; yield its SQLAlchemy URL.

    Raises:
        RuntimeError: The server does not start; the message holds the end of its log.
    """
    owner = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, port = Path(name), _free_port()
        if owner is not None:
            os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
        data, log = folder / "data", folder / "log.txt"
        initialise = ["initdb", "--pgdata", str(data), "--username", USER, "--auth", "trust", "--encoding", "UTF8"]
        subprocess.run([*initialise, "--no-sync"], check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL)
        command = ["postgres", "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, user=owner, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, port, log)
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: open transactions are rolled back
            process.wait(STOP_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user={USER} dbname=postgres").close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-3000:]}") from error
            time.sleep(0.1)
        else:
            return
