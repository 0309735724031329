"""A clock that a chaos run can set: that of the processes which are started with its variables."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_suffix(".c")


class ShiftedClock:
    """A clock that is right until it is set.

    Attributes:
        environ: Variables that give this clock to a process and its descendants.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.set_ahead(0)
        preloaded = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
        self.environ: Mapping[str, str] = {"LD_PRELOAD": ":".join(preloaded), "CHAOS_CLOCK_FILE": str(file)}

    def set_ahead(self, seconds: int) -> None:
        """Set the clock ahead of the right time, or behind it by a negative number."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:  # in place: processes have it mapped
            file.write(struct.pack("=q", seconds))


@contextmanager
def shifted_clock() -> Iterator[ShiftedClock | None]:
    """Build the library that shifts the clock; None on a machine without a compiler of C."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="chaos-clock-") as name:
        library = Path(name) / "shifted_clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        yield ShiftedClock(library, Path(name) / "seconds")
