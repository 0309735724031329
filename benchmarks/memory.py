"""The memory of a benchmark's process: its peak, and how the allocator returns it."""

import os
import subprocess
import sys
from pathlib import Path


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB.

    It comes from ``/proc``, because ``ru_maxrss`` of a forked process starts at the peak of its parent.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) / 1024


def restart_with_kept_memory(benchmark: str) -> None:
    """Run this benchmark again with the workers' allocator settings, unless it has them; the allocator reads them once.

    Raises:
        SystemExit: The restarted process ended; the exit status is its own.
    """
    from cli.plan import KEEP_MEMORY  # loads much that would count in the memory of other stages

    if any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        command = [sys.executable, "-m", f"benchmarks.{benchmark}", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env={**os.environ, **KEEP_MEMORY}, check=False).returncode)
