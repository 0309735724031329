"""The long run of the fuzzers: ``make fuzz``, or ``python -m tests.fuzz --inputs 100000``.

Each reader runs in processes of its own with a limit on memory and on the time of an input. An input that ends one of
them, or raises what its reader may not raise, is kept and named.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.inputs import damaged
from tests.fuzz.targets import Target, targets

MEMORY_MIB = 2048
SECONDS = 20
BATCH = 500  # inputs of one process


def main() -> int:
    """Run the fuzzers; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs in all (default: %(default)s)")
    parser.add_argument("--readers", nargs="+", metavar="NAME", help="give only these their share (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("var/fuzz"), help="folder of findings (default: %(default)s)")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    crashes = 0
    print("| reader | inputs | crashes and wrong errors | slowest input, s | peak memory, MiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        readers = targets(Path(folder))
        each = -(-options.inputs // len(readers))
        names = options.readers or list(readers)
        if unknown := set(names) - set(readers):
            parser.error(f"no readers named {sorted(unknown)}; there are {', '.join(readers)}")
        for name in names:
            found, slowest, peak = _fuzz(name, readers[name], each, options.seed, options.keep)
            crashes += found
            print(f"| {name} | {each:,} | {found} | {slowest:.2f} | {peak} |", flush=True)
    return int(crashes > 0)


def _fuzz(name: str, reader: Target, count: int, seed: int, keep: Path) -> tuple[int, float, int]:
    """Return the number of findings, the time of the slowest input in seconds, and the peak memory in MiB."""
    context = get_context("fork")  # there are no threads yet
    found, slowest, peak = 0, 0.0, 0
    for batch in range(0, count, BATCH):
        receiver, sender = context.Pipe(duplex=False)
        last = keep / f"{name.replace('/', '-')}-{seed}-{batch}"
        run = (reader, min(BATCH, count - batch), seed + batch, last, sender.send)
        process = context.Process(target=_batch, args=run)
        process.start()
        sender.close()
        try:
            faults, time_s, memory = receiver.recv()
            last.unlink(missing_ok=True)
        except EOFError:
            process.join()
            faults, time_s, memory = [f"ended by {process.exitcode}"], float(SECONDS), 0
        process.join()
        for fault in faults[:3]:
            print(f"{name}: {fault}; see {last}", file=sys.stderr, flush=True)
        found, slowest, peak = found + len(faults), max(slowest, time_s), max(peak, memory)
    return found, slowest, peak


def _batch(
    reader: Target, count: int, seed: int, last: Path, tell: Callable[[tuple[list[str], float, int]], None]
) -> None:
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what GDAL says about damaged files
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MIB << 20, MEMORY_MIB << 20))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also inside a library
    faults: list[str] = []
    slowest = 0.0

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(reader.seeds))
    def fuzz(data: bytes) -> None:
        nonlocal slowest
        last.write_bytes(data)
        begun = time.perf_counter()
        signal.alarm(SECONDS)
        try:
            reader.run(data)
        except reader.allowed as error:
            if not str(error):
                faults.append("an error without a reason")
        except BaseException as error:
            faults.append(repr(error)[:300])
            last.with_name(f"{last.name}-{len(faults)}").write_bytes(data)
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - begun)

    fuzz()
    tell((faults, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10))


if __name__ == "__main__":
    sys.exit(main())
