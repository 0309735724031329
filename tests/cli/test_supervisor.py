"""Real processes, stopped in order, with nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.plan import Process
from cli.supervisor import Supervisor, log_file

# Writes its name to argv[1] when told to stop, after argv[3] seconds.
OBEDIENT = """
import signal, sys, time
def stop(*_):
    time.sleep(float(sys.argv[3]))
    open(sys.argv[1], "a").write(sys.argv[2] + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    time.sleep(1)
"""

# Has a child in a process group of its own that is deaf to SIGTERM, as an RQ worker has; its pid goes to argv[1].
PARENT = """
import os, signal, sys, time
child = os.fork()
if child == 0:
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
open(sys.argv[1], "w").write(str(child))
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def python(name: str, code: str, *arguments: object, is_service: bool = False) -> Process:
    argv = (sys.executable, "-c", code, *map(str, arguments))
    return Process(name, argv, dict(os.environ), Path.cwd(), is_service)


def interrupt_when(condition: Callable[[], bool]) -> Callable[[], None]:
    def wait_and_interrupt() -> None:
        while not condition():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    return wait_and_interrupt


def nothing() -> None:
    pass


def test_services_outlive_those_who_need_them(tmp_path: Path):
    ends = tmp_path / "ends"
    processes = [
        python("service", OBEDIENT, ends, "service", 0, is_service=True),
        python("worker", OBEDIENT, ends, "worker", 0.5),
    ]
    ready = interrupt_when(lambda: all("ready" in read(log_file(tmp_path, p.name)) for p in processes))
    stops: list[str] = []
    supervisor = Supervisor(processes, tmp_path, on_start=ready, on_stop=lambda: stops.append("said"))
    supervisor.loop()
    assert ends.read_text() == "worker service "
    assert stops == ["said"]
    assert supervisor.failed is None


def test_the_death_of_one_stops_all_and_is_told(tmp_path: Path):
    processes = [
        python("steady", "import time; time.sleep(600)"),
        python("broken", "import sys; print('no disk', flush=True); sys.exit(3)"),
    ]
    supervisor = Supervisor(processes, tmp_path, on_start=nothing, on_stop=nothing)
    supervisor.loop()
    assert supervisor.failed == ("broken", 3)
    assert log_file(tmp_path, "broken").read_text() == "no disk\n"


def test_deaf_children_of_a_process_do_not_survive(tmp_path: Path):
    pid_file = tmp_path / "pid"
    processes = [python("worker", PARENT, pid_file)]
    ready = interrupt_when(lambda: read(pid_file) != "")
    Supervisor(processes, tmp_path, on_start=ready, on_stop=nothing).loop()
    assert is_gone(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_processes_end_when_the_supervisor_is_killed(tmp_path: Path):
    pid_file = tmp_path / "pid"
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.cli.test_supervisor import nothing, python\n"
        "from cli.supervisor import Supervisor\n"
        "child = 'import os, sys, time; open(sys.argv[1], \"w\").write(str(os.getpid())); time.sleep(600)'\n"
        "process = python('worker', child, sys.argv[1])\n"
        "Supervisor([process], Path(sys.argv[1]).parent, on_start=nothing, on_stop=nothing).loop()\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code, str(pid_file)])
    wait_for(lambda: read(pid_file) != "")
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: is_gone(int(pid_file.read_text())))


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.02)
