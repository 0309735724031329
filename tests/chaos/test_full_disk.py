"""A full disk below the logs and the output of `up` ends nothing."""

import os
import sys
import time

import pytest

from chaos.folder import small_folder
from cli.plan import Process
from cli.supervisor import Supervisor

TALKS = "import time\nwhile True: print('x' * 5000, flush=True); time.sleep(0.05)"


@pytest.mark.slow
def test_supervisord_survives_a_full_disk(capfd: pytest.CaptureFixture[str]) -> None:
    with small_folder() as folder, capfd.disabled():
        if not folder.is_mounted:
            pytest.skip("only root can make a file system to fill")
        log, before = folder.path / "var" / "logs" / "talker.log", os.dup(2)
        process = Process("talker", (sys.executable, "-c", TALKS), dict(os.environ), folder.path, is_service=False)
        try:
            with (folder.path / "up.txt").open("wb") as output:
                os.dup2(output.fileno(), 2)  # as `glacier-al up 2> var/up.txt`
                with Supervisor([process], folder.path / "var") as supervisor:
                    wait_for_more(log, 0)
                    with folder.full() as is_full:
                        time.sleep(3)
                        assert is_full and supervisor.runs
                    wait_for_more(log, log.stat().st_size)
        finally:
            os.dup2(before, 2)
            os.close(before)


def wait_for_more(log, size: int) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.stat().st_size <= size:
        assert time.monotonic() < deadline, f"{log} does not grow"
        time.sleep(0.1)
