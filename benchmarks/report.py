"""What a benchmark leaves behind: one JSON object below ``var/bench/``, and how times are taken for it.

This loads no torch, so that processes whose memory is measured hold it only if they need it.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from workers.code_version import code_version

FOLDER_VARIABLE: Final = "BENCHMARK_FOLDER"
"""Of the environment: where results go, if not below ``var/bench/``."""
BENCH: Final = Path(os.environ.get(FOLDER_VARIABLE, "var/bench"))


@dataclass(frozen=True)
class Result:
    """What was found.

    Attributes:
        name: Of the benchmark, and so of its file.
        figures: The rows of its table.
        baseline: What ``ratio`` is over; None where there is nothing to compare with.
        ratio: The headline: how many times as good as the baseline; the median, where there are several.
        spread: The lowest and the highest of them.
        seeds: Of everything random.
        conditions: What else the figures depend on: sizes, passes, threads.
    """

    name: str
    figures: Sequence[Mapping[str, object]]
    baseline: str | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    seeds: Sequence[int] = ()
    conditions: Mapping[str, object] = field(default_factory=dict)


def publish(result: Result) -> None:
    """Write the result with the command, the code and the machine that it is of.

    Raises:
        ValueError: A figure is NaN or infinite, which JSON cannot hold; what is undefined is None.
    """
    written = {
        **asdict(result),
        "seeds": list(result.seeds),
        "command": ["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]],
        "code_version": code_version(),
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / f"{result.name}.json").write_text(json.dumps(written, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any] | None:
    """Read what `publish` wrote; None if there is no such file, or it is of an older format."""
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    expected = {"command", "code_version", *(item.name for item in fields(Result))}
    return found if expected <= found.keys() else None


def is_of_this_code(version: str) -> bool:
    """Tell whether this very code left something; uncommitted code may have been any."""
    return version == code_version() and not version.endswith("-dirty")


def machine() -> dict[str, object]:
    """Describe the machine: what times depend on, and what was going on beside them."""
    import torch

    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "bfloat16": bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The model, where the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def take_turns(methods: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time methods in turns, after one round that warms up: a drift of the machine meets all alike.

    Returns:
        The seconds of each method, one a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for round_number in range(rounds + 1):
        for name, method in methods.items():
            started = time.perf_counter()
            method()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def times_as_fast(seconds: Mapping[str, Sequence[float]], method: str, over: str) -> tuple[float, tuple[float, float]]:
    """How many times as fast a method is as another: the median of the ratios within each round, and their range."""
    ratios = [a / b for a, b in zip(seconds[over], seconds[method], strict=True)]
    return statistics.median(ratios), (min(ratios), max(ratios))


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Set rows as a table; floats with three digits that count."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
