"""What a soak measures of processes, and the series that it makes of that."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from chaos.usage import (
    FILES,
    JOB_RSS,
    PSS,
    RSS,
    THREADS,
    ProcessUsage,
    Sample,
    interruptions,
    measure,
    part_series,
    size,
)

MIB = 2**20
BUSY = """
import sys, threading
kept = bytearray(b"x" * 50 * 2**20)
opened = [open("/dev/null") for _ in range(20)]
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


def sample(at_s: float, *processes: ProcessUsage) -> Sample:
    return Sample(at_s, {"api": processes}, {}, {})


def usage(pid: int, mib: int = 10) -> ProcessUsage:
    return ProcessUsage(pid, 1000.0, mib * MIB, mib * MIB // 2, threads=4, files=7)


def test_memory_threads_and_handles_of_a_process_are_measured() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (found,) = measure([psutil.Process(process.pid)])
        process.communicate()
    assert found.pid == process.pid
    assert 50 * MIB < found.pss <= found.rss < 150 * MIB
    assert found.threads == 4
    assert found.files >= 23  # with input, output and errors


def test_a_process_that_has_ended_is_left_out() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    handle = psutil.Process(process.pid)
    process.wait()
    assert len(measure([handle, psutil.Process(os.getpid())])) == 1


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    (tmp_path / "inner" / "to b").symlink_to(tmp_path / "b")
    assert (size(tmp_path), size(tmp_path / "b"), size(tmp_path / "missing")) == (8, 3, 0)


def test_jobs_are_apart_from_the_processes_that_last() -> None:
    samples = [sample(15.0 * number, usage(1)) for number in range(20)]
    samples[7] = sample(105.0, usage(1), usage(2, mib=300), usage(3, mib=200))
    found = part_series(samples, "api")
    assert set(found[RSS][1]) == {10.0}
    assert (set(found[THREADS][1]), set(found[FILES][1])) == ({4}, {7})
    assert found[JOB_RSS] == ([105.0], [300.0])
    assert (found[PSS][1][6], found[PSS][1][7]) == (5.0, 255.0)


def test_a_part_that_was_gone_or_started_again_is_interrupted() -> None:
    assert interruptions([sample(0, usage(1)), sample(15, usage(1))], "api") == 0
    assert interruptions([sample(0, usage(1)), sample(15, usage(2))], "api") == 1
    assert interruptions([sample(0, usage(1)), sample(15), sample(30)], "api") == 1
