"""What the processes and stores of a running system use, and the series that follow from it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil
from sqlalchemy import func, select

from catalog.context import Catalog
from catalog.records import LabelEvent, Round, TrainingRun
from chaos.system import System

LASTING_SHARE: Final = 0.9
"""A process in this share of all samples belongs to its part; any other one is that of a job."""
RSS: Final = "RSS, MiB"
THREADS: Final = "threads"
FILES: Final = "open file handles"
PSS: Final = "anonymous PSS with jobs, MiB"
JOB_RSS: Final = "RSS of a job, MiB"


@dataclass(frozen=True)
class ProcessUsage:
    """A process at one moment; pid and start time (seconds since 1970) name it. Memory is in bytes.

    `pss` is that of anonymous pages, which a process shares with its forks at most. Pages of files are shared with
    all others that run the same programs: they would count more whenever a system beside this one stops.
    """

    pid: int
    started: float
    rss: int
    pss: int
    threads: int
    files: int

    @property
    def name(self) -> tuple[int, float]:
        """What no other process has."""
        return (self.pid, self.started)


@dataclass(frozen=True)
class Sample:
    """The system at one moment.

    Attributes:
        at_s: Seconds since the first sample.
        parts: Processes of each part, its own one first.
        stores: Bytes of each database, folder and of Redis's memory.
        events: Label events, rounds and fine-tunes so far, by name.
    """

    at_s: float
    parts: Mapping[str, Sequence[ProcessUsage]]
    stores: Mapping[str, int]
    events: Mapping[str, int]


def take_sample(system: System, catalog: Catalog, at_s: float) -> Sample:
    """Measure a running system."""
    parts = {name: measure(processes) for name, processes in system.trees().items()}
    var = system.var_dir
    stores = {
        "Redis, memory": int(catalog.queue.connection.info("memory")["used_memory"]),
        "Redis, file": size(var / "redis"),
        "catalog": sum(size(file) for file in var.glob("catalog.sqlite*")),
        "Label Studio, database": sum(size(file) for file in (var / "label-studio").glob("label_studio.sqlite3*")),
        "MLflow, database": sum(size(file) for file in (var / "mlflow").glob("mlflow.db*")),
        "MLflow, artifacts": size(var / "mlflow" / "artifacts"),
        "masks, maps, views": size(var / "store"),
        "logs": size(var / "logs"),
        "data folder": size(var),
    }
    counted = {"label event": LabelEvent.id, "round": Round.id, "fine-tune": TrainingRun.id}
    with catalog.read() as session:
        events = {name: session.scalar(select(func.count(column))) or 0 for name, column in counted.items()}
    return Sample(at_s, parts, stores, events)


def measure(processes: Iterable[psutil.Process]) -> list[ProcessUsage]:
    """Return what processes use; those that have ended are left out."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError), process.oneshot():
            usage = ProcessUsage(
                process.pid,
                process.create_time(),
                process.memory_info().rss,
                _anonymous_pss(process.pid),
                process.num_threads(),
                process.num_fds(),
            )
            found.append(usage)
    return found


def _anonymous_pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 if it does not exist."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            return sum(size(item) for item in path.iterdir() if not item.is_symlink())
        return path.stat().st_size
    return 0


def part_series(samples: Sequence[Sample], part: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return the series of a part by their names, each as seconds and values.

    RSS, threads and handles are those of its lasting processes: a fork for a job shares memory with them, which halves
    their PSS while it runs, but not their RSS. Jobs are in the PSS of the whole part, and the largest job of each
    sample has a series of its own.
    """
    present = Counter(usage.name for sample in samples for usage in sample.parts.get(part, ()))
    lasting = {name for name, count in present.items() if count >= LASTING_SHARE * len(samples)}
    found: dict[str, tuple[list[float], list[float]]] = {}

    def add(series: str, at_s: float, value: float) -> None:
        seconds, values = found.setdefault(series, ([], []))
        seconds.append(at_s)
        values.append(value)

    for sample in samples:
        processes = sample.parts.get(part, ())
        own = [usage for usage in processes if usage.name in lasting]
        jobs = [usage for usage in processes if usage.name not in lasting]
        if lasting and len(own) == len(lasting):
            add(RSS, sample.at_s, sum(usage.rss for usage in own) / 2**20)
            add(THREADS, sample.at_s, sum(usage.threads for usage in own))
            add(FILES, sample.at_s, sum(usage.files for usage in own))
        if processes:
            add(PSS, sample.at_s, sum(usage.pss for usage in processes) / 2**20)
        if jobs:
            add(JOB_RSS, sample.at_s, max(usage.rss for usage in jobs) / 2**20)
    return found


def parts_of(samples: Sequence[Sample]) -> list[str]:
    """Return the names of all parts that were seen."""
    return list(dict.fromkeys(part for sample in samples for part in sample.parts))


def interruptions(samples: Sequence[Sample], part: str) -> int:
    """Return how often a part was gone, or had another process of its own than in the sample before."""
    processes = [sample.parts.get(part) for sample in samples]
    names = [listed[0].name if listed else None for listed in processes]
    return sum(before != after for before, after in pairwise(names))
