"""The result of a benchmark, one JSON object below ``var/bench/``, and helpers to measure and print it.

This module does not import torch, which would count in the memory of every process that is measured.
"""

import json
import os
import platform
import statistics
import subprocess
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
"""Environment variable that names the folder of the results, in place of ``var/bench/``."""
BENCH: Final = Path(os.environ.get(FOLDER_VARIABLE, "var/bench"))


@dataclass(frozen=True)
class Result:
    """The result of a benchmark.

    Attributes:
        name: Name of the benchmark; its file has the same name.
        figures: The rows of its table.
        baseline: What ``ratio`` compares with; None if the benchmark compares with nothing.
        ratio: The headline: how many times as good as the baseline; the median if there are several.
        spread: The lowest and the highest ratio.
        seeds: Seeds of everything random.
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
    """Write the result as JSON, with the command, the code version and the machine that produced it.

    Raises:
        ValueError: A figure is NaN or infinite, which JSON cannot hold; use None for an undefined figure.
    """
    program = Path(sys.argv[0])
    written = {
        **asdict(result),
        "seeds": list(result.seeds),
        "command": ["python", "-m", f"{program.parent.name}.{program.stem}", *sys.argv[1:]],
        "code_version": code_version(),
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / f"{result.name}.json").write_text(json.dumps(written, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any] | None:
    """Return a result that `publish` wrote; None if the file is missing or has an older format."""
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    expected = {"command", "code_version", *(item.name for item in fields(Result))}
    return found if expected <= found.keys() else None


def is_of_this_code(version: str) -> bool:
    """Return whether a result has this code version; never with uncommitted changes, whose content is unknown."""
    return version == code_version() and not version.endswith("-dirty")


def machine() -> dict[str, object]:
    """Return a description of the machine, with its load average at the moment."""
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
    """Return the model of the processor, if the operating system says it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def run_stage(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a module of the benchmarks in a fresh process, whose memory is its own; return the JSON that it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def take_turns(methods: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time methods in turns, after one warm-up round: a drift of the machine affects all of them alike.

    Returns:
        The seconds of each method, one value a round.
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
    """Return how many times as fast a method is as another: the median and the range of the ratios of each round."""
    ratios = [a / b for a, b in zip(seconds[over], seconds[method], strict=True)]
    return statistics.median(ratios), (min(ratios), max(ratios))


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a Markdown table; floats have three significant digits."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
