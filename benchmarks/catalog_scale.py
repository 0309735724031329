"""How long do proposing a round, paging and status pages take with a million patches, on both databases?

``python -m benchmarks.catalog_scale [--patches N] [--databases NAME ...] [--repeats N]``

Fills a temporary database of each kind with a pool after fifty rounds (``benchmarks.catalog_rows``), and proposes each
round in a process of its own, as a worker does. The baseline of the ratio proposes the same round by reading every
candidate and sorting them, as the first releases did. If PostgreSQL is not installed, it is left out, and the result
says so. Writes ``var/bench/catalog_scale.json`` and prints the tables.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.catalog_rows import PATCHES_ACROSS, SCENES
from benchmarks.catalog_stages import CALLS, DEPLETED_SHARE, METHODS, ROUND_SIZE, SEED
from benchmarks.postgresql import PROGRAMS, is_installed, postgresql_server
from benchmarks.report import Result, markdown, publish, run_stage
from catalog.settings import Strategy

STRATEGIES: Final = (Strategy.RANDOM, Strategy.RECIPE, Strategy.ENTROPY_TOP10, Strategy.MUTUAL_INFORMATION)
INDEX, SORTING = METHODS
STEP: Final = SCENES * PATCHES_ACROSS
STAGES: Final = "catalog_stages"
DEPLETED: Final = f"entropy_top10, top {DEPLETED_SHARE:.0%} labelled"
Row = dict[str, Any]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--patches", type=_patches, default=1_000_000, help=f"a multiple of {STEP}, at least twice that")
    made.add_argument("--databases", nargs="+", choices=SERVERS, default=list(SERVERS))
    made.add_argument("--repeats", type=int, default=3, help="proposals by each strategy and method")
    return made


def _patches(text: str) -> int:
    patches = int(text)
    if patches < 2 * STEP or patches % STEP:
        raise argparse.ArgumentTypeError(f"found {patches} patches, expected a multiple of {STEP}, and at least two")
    return patches


def main() -> None:
    """Measure each database in turn, print the tables, publish."""
    given = parser().parse_args()
    proposals: list[Row] = []
    answers: list[Row] = []
    filled: dict[str, Row] = {}
    left_out: dict[str, str] = {}
    for name in given.databases:
        if name == "postgresql" and not is_installed():
            left_out[name] = f"{' and '.join(PROGRAMS)} are not installed"
            print(f"{name} is left out: {left_out[name]}", flush=True)
            continue
        with SERVERS[name]() as url:
            filled[name] = run_stage(STAGES, "fill", url, str(given.patches))
            print(f"{name}: filled, {filled[name]['gib']:.2f} GiB in {filled[name]['seconds']:.0f} s", flush=True)
            answers += [{"database": name, **row} for row in _ask(url, given.patches)]
            proposals += [{"database": name, **row} for row in _propose(url, given.repeats)]
    if not filled:
        raise SystemExit(f"nothing was measured; left out: {left_out}")
    print(f"\nA round of {ROUND_SIZE} from {given.patches:,} patches, from request to stored proposals\n")
    print(markdown(proposals))
    print(f"\nPages and status, medians of {CALLS}\n")
    print(markdown(answers))
    conditions = {"patches": given.patches, "filled": filled, "left out": left_out}
    publish(_result(proposals, answers, {"scenes": SCENES, "round_size": ROUND_SIZE, **conditions}))


@contextmanager
def sqlite_file() -> Iterator[str]:
    """Yield the URL of a database in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'catalog.sqlite'}"


SERVERS: Final[dict[str, Callable[[], AbstractContextManager[str]]]] = {
    "sqlite": sqlite_file,
    "postgresql": postgresql_server,
}


def _ask(url: str, patches: int) -> list[Row]:
    return [
        {"asked": name, "median_ms": 1000 * statistics.median(seconds), "slowest_ms": 1000 * max(seconds)}
        for name, seconds in run_stage(STAGES, "ask", url, str(patches)).items()
    ]


def _propose(url: str, repeats: int) -> list[Row]:
    """Propose rounds by each strategy and method in turns; then again after the top of the ranking was labelled."""
    measured: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(repeats):
        for strategy in STRATEGIES:
            for method in METHODS:
                measured[strategy.value][method].append(run_stage(STAGES, "propose", url, strategy.value, method))
    run_stage(STAGES, "deplete", url)
    for _ in range(repeats):
        for method in METHODS:
            measured[DEPLETED][method].append(run_stage(STAGES, "propose", url, Strategy.ENTROPY_TOP10.value, method))
    return [_row(strategy, by_method[INDEX], by_method[SORTING]) for strategy, by_method in measured.items()]


def _row(strategy: str, index: list[Row], sorting: list[Row]) -> Row:
    ratios = [slow["seconds"] / fast["seconds"] for slow, fast in zip(sorting, index, strict=True)]
    return {
        "strategy": strategy,
        "seconds": statistics.median(run["seconds"] for run in index),
        "slowest_s": max(run["seconds"] for run in index),
        "peak_mib": max(run["peak_mib"] for run in index),
        "sorting_s": statistics.median(run["seconds"] for run in sorting),
        "sorting_peak_mib": max(run["peak_mib"] for run in sorting),
        "ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
    }


def _result(proposals: list[Row], answers: list[Row], conditions: Row) -> Result:
    return Result(
        name="catalog_scale",
        figures=[*proposals, *answers],
        baseline="reading every candidate and sorting them",
        ratio=statistics.median(row["ratio"] for row in proposals),
        spread=(min(row["lowest_ratio"] for row in proposals), max(row["highest_ratio"] for row in proposals)),
        seeds=[SEED],
        conditions=conditions,
    )


if __name__ == "__main__":
    main()
