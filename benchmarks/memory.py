"""The most memory that a process held."""

from pathlib import Path


def peak_mib() -> float:
    """The most that this process ever held, in MiB; the ``ru_maxrss`` of a child counts its parent's, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) / 1024
