"""Real processes under a real supervisord: started again, stopped in order, with nothing left behind."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli import supervisor as module
from cli.first_start import FirstStart
from cli.plan import Process
from cli.supervisor import FOLDER, State, Status, Supervisor

pytestmark = pytest.mark.slow  # supervisord looks after its processes once a second, and stops them one after the other

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these requests to the kernel")

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

# Has a child in a process group of its own that ignores SIGTERM, as an RQ worker has; its pid goes to argv[1].
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

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\n"
IGNORES_SIGTERM += "while True: time.sleep(1)"
SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"


def python(name: str, code: str, *arguments: object, is_service: bool = False, **others: object) -> Process:
    argv = (sys.executable, "-c", code, *map(str, arguments))
    return Process(name, argv, dict(os.environ), Path.cwd(), is_service, **others)


def test_services_outlive_those_who_need_them(tmp_path: Path):
    ends = tmp_path / "ends"
    processes = [
        python("service", OBEDIENT, ends, "service", 0, is_service=True),
        python("worker", OBEDIENT, ends, "worker", 0.5),
    ]
    with Supervisor(processes, tmp_path):
        wait_for(lambda: all("ready" in log(tmp_path, process.name) for process in processes))
    assert ends.read_text() == "worker service "


def test_what_dies_is_started_again_and_the_others_go_on(tmp_path: Path):
    processes = [python("steady", SLEEPS), python("killed", SLEEPS)]
    with Supervisor(processes, tmp_path) as supervisor:
        wait_for(lambda: all(status.pid for status in supervisor.statuses().values()))
        before = supervisor.statuses()
        os.kill(before["killed"].pid, signal.SIGKILL)
        start = time.monotonic()
        wait_for(lambda: supervisor.statuses()["killed"].pid not in {0, before["killed"].pid})
        assert time.monotonic() - start < 10
        assert supervisor.statuses()["steady"] == Status(State.STARTING, before["steady"].pid, before["steady"].started)


def test_what_ends_again_and_again_is_given_up_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RESTARTS", 1)
    processes = [python("steady", SLEEPS), python("broken", "import sys; print('no disk'); sys.exit(3)")]
    with Supervisor(processes, tmp_path) as supervisor:
        wait_for(lambda: supervisor.statuses().get("broken", Status(State.UNKNOWN, 0, None)).state is State.FATAL)
        assert supervisor.statuses()["steady"].pid
    assert log(tmp_path, "broken") == "no disk\n" * 2


def test_a_person_starts_what_was_given_up_by_supervisorctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RESTARTS", 0)
    gate = tmp_path / "mended"
    code = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).stat(); time.sleep(600)"
    with Supervisor([python("broken", code, gate)], tmp_path) as supervisor:
        wait_for(lambda: State.FATAL in [status.state for status in supervisor.statuses().values()])
        gate.touch()
        program = Path(sys.executable).with_name("supervisorctl")
        # It waits until the process counts as started, which takes a minute.
        with subprocess.Popen([program, "start", "own:broken"], cwd=tmp_path / FOLDER) as control:
            wait_for(lambda: supervisor.statuses()["broken"].pid != 0)
            control.kill()


def test_a_process_that_ignores_the_request_to_stop_is_killed_when_its_time_is_over(tmp_path: Path):
    with Supervisor([python("deaf", IGNORES_SIGTERM, stop_s=1)], tmp_path) as supervisor:
        wait_for(lambda: "ready" in log(tmp_path, "deaf"))
        pid = supervisor.statuses()["deaf"].pid
        start = time.monotonic()
    assert 1 <= time.monotonic() - start < 10
    assert is_gone(pid)


def test_our_own_are_killed_on_demand_and_services_still_stop_in_order(tmp_path: Path):
    ends = tmp_path / "ends"
    processes = [
        python("service", OBEDIENT, ends, "service", 0, is_service=True),
        python("worker", IGNORES_SIGTERM, stop_s=60),
    ]
    start = time.monotonic()
    with Supervisor(processes, tmp_path) as supervisor:
        wait_for(lambda: all("ready" in log(tmp_path, process.name) for process in processes))
        supervisor.statuses()
        supervisor.stop()
        supervisor.kill_our_own()
    assert ends.read_text() == "service "
    assert time.monotonic() - start < 30


@linux
def test_what_a_killed_process_leaves_behind_is_ended_while_the_system_runs(tmp_path: Path):
    pid_file = tmp_path / "pid"
    with Supervisor([python("worker", PARENT, pid_file)], tmp_path) as supervisor:
        wait_for(lambda: read(pid_file) != "" and bool(supervisor.statuses()))
        orphan = int(pid_file.read_text())
        os.kill(supervisor.statuses()["worker"].pid, signal.SIGKILL)
        wait_for(lambda: bool(supervisor.statuses()) and is_gone(orphan))


@linux
def test_children_of_a_process_that_stops_do_not_survive(tmp_path: Path):
    pid_file = tmp_path / "pid"
    with Supervisor([python("worker", PARENT, pid_file)], tmp_path):
        wait_for(lambda: read(pid_file) != "")
    assert is_gone(int(pid_file.read_text()))


@linux
def test_nothing_outlives_a_supervisord_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LEFTOVERS_S", 1.0)
    pid_file = tmp_path / "pid"
    with Supervisor([python("worker", PARENT, pid_file), python("other", SLEEPS)], tmp_path) as supervisor:
        wait_for(lambda: read(pid_file) != "" and "ready" in log(tmp_path, "other"))
        pids = [status.pid for status in supervisor.statuses().values()]
        os.kill(int((tmp_path / FOLDER / "supervisord.pid").read_text()), signal.SIGKILL)
        wait_for(lambda: not supervisor.runs)
        assert supervisor.statuses() == {}
    assert all(map(is_gone, [*pids, int(pid_file.read_text())]))


@linux
def test_processes_end_in_order_when_we_are_killed(tmp_path: Path):
    ends = tmp_path / "ends"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.cli.test_supervisor import OBEDIENT, python\n"
        "from cli.supervisor import Supervisor\n"
        "processes = [python('service', OBEDIENT, sys.argv[1], 'service', 0, is_service=True)]\n"
        "processes += [python('worker', OBEDIENT, sys.argv[1], 'worker', 0.5)]\n"
        "with Supervisor(processes, Path(sys.argv[1]).parent): time.sleep(600)\n"
    )
    up = subprocess.Popen([sys.executable, "-c", code, str(ends)])
    wait_for(lambda: all("ready" in log(tmp_path, name) for name in ("service", "worker")))
    supervisord = int((tmp_path / FOLDER / "supervisord.pid").read_text())
    up.kill()
    up.wait()
    wait_for(lambda: is_gone(supervisord))
    assert ends.read_text() == "worker service "


def test_secrets_are_in_files_of_their_owner_only(tmp_path: Path):
    process = Process("worker", (sys.executable, "-c", SLEEPS), {"PASSWORD": "s%(x)s;#"}, Path.cwd(), is_service=False)
    with Supervisor([process], tmp_path) as supervisor:
        wait_for(lambda: "ready" in log(tmp_path, "worker"))
        running = psutil.Process(supervisor.statuses()["worker"].pid)
        assert running.environ() == {"PASSWORD": "s%(x)s;#"}  # all of it, and nothing else
        files = [path for path in (tmp_path / FOLDER).iterdir() if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files if "s%(x)s" in path.read_text()} == {0o600}
        assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    assert not [path for path in (tmp_path / FOLDER).iterdir() if path.is_file() and "s%(x)s" in path.read_text()]


def test_any_folder_will_do(tmp_path: Path):
    # Longer than the path of a socket may be, with characters that mean something in supervisord's configuration.
    folder = tmp_path / f"{'long ' * 25};# %(here)s 'one' \"two\""
    with Supervisor([python("worker", SLEEPS)], folder) as supervisor:
        wait_for(lambda: "ready" in log(folder, "worker"))
        assert supervisor.statuses()["worker"].pid


def test_a_large_log_makes_room_while_its_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LOG_BYTES", 100)
    code = "import time\nfor n in range(200): print(f'{n:09}', flush=True); time.sleep(0.01)\ntime.sleep(600)"
    with Supervisor([python("talker", code)], tmp_path):
        wait_for(lambda: any("000000199" in read(path) for path in (tmp_path / "logs").glob("talker*")))
    logs = sorted(path.name for path in (tmp_path / "logs").glob("talker*"))
    assert logs == ["talker.log", "talker.log.1", "talker.log.2", "talker.log.3"]


def test_a_half_made_database_is_out_of_the_way_when_its_program_starts_again(tmp_path: Path):
    # Like MLflow: cannot go on from a database that it has not finished.
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).open('x'); print('ready', flush=True); time.sleep(600)"
    database = tmp_path / "made.db"
    process = python("maker", code, database, first_start=FirstStart(database, {}))
    with Supervisor([process], tmp_path) as supervisor:
        wait_for(lambda: "ready" in log(tmp_path, "maker"))
        os.kill(supervisor.statuses()["maker"].pid, signal.SIGKILL)
        wait_for(lambda: log(tmp_path, "maker").count("ready") == 2)
    assert f"An earlier start was stopped while making {database}" in log(tmp_path, "maker")
    assert (tmp_path / "made.db.half-made-1").exists()


def log(var_dir: Path, name: str) -> str:
    return read(var_dir / "logs" / f"{name}.log")


def read(path: Path) -> str:
    """Read a log; nothing if it is not there, or has just been renamed to make room."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)
