"""How long does the whole system take to start, and how much memory and processor time does it use when idle?

``python -m benchmarks.idle_cost [--seconds N]``

Starts ``glacier-al up`` twice in a temporary folder; the first start makes Label Studio's database. Memory is the
proportional set size, in which shared pages count once.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.report import Result, markdown, publish

SETTLE_S = 20
START_TIMEOUT_S = 300


@contextmanager
def running(folder: Path) -> Iterator[tuple[psutil.Process, float]]:
    """Run ``glacier-al up`` while the block lasts; yield its process and the seconds until it was ready."""
    log = folder / "up.log"
    environment = {**os.environ, "GLACIER_AL_VAR_DIR": str(folder / "var")}
    started = time.monotonic()
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli.main", "up"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        while "Everything is ready." not in log.read_text():
            if process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
                raise RuntimeError(f"the system did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield psutil.Process(process.pid), time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def cpu_seconds(root: psutil.Process) -> float:
    """Return the processor seconds that a process and its descendants have used."""
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return float(sum(item.user + item.system for item in times))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, default=60.0, help="length of the idle window")
    return made


def main() -> None:
    """Measure, print, write the report."""
    arguments = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with running(Path(folder)) as (_, first_start_s):
            pass
        with running(Path(folder)) as (root, next_start_s):
            time.sleep(SETTLE_S)
            before = cpu_seconds(root)
            time.sleep(arguments.seconds)
            core_share = (cpu_seconds(root) - before) / arguments.seconds
            tree = [root, *root.children(recursive=True)]
            memory = sum(process.memory_full_info().pss for process in tree)
    figures = {
        "ready at the first start, s": round(first_start_s, 1),
        "ready at the next start, s": round(next_start_s, 1),
        "share of a core when idle": round(core_share, 4),
        "memory when idle, GB": round(memory / 1e9, 2),
        "processes": len(tree),
    }
    rows = [{"what": what, "value": value} for what, value in figures.items()]
    print(markdown(rows))
    publish(Result("idle_cost", rows, conditions={"idle_s": arguments.seconds}))


if __name__ == "__main__":
    main()
