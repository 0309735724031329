"""The data folder of a chaos run on a small file system of its own, which can be filled and made read-only."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_SIZE: Final = "2g"


class Folder:
    """A folder that may be a mounted tmpfs.

    Attributes:
        path: The folder.
        is_mounted: Whether it is a file system of its own, which only root can make.
    """

    def __init__(self, path: Path, *, is_mounted: bool) -> None:
        self.path = path
        self.is_mounted = is_mounted

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no space during the block: the file system shrinks to what is in it."""
        statistics = os.statvfs(self.path)
        used = (statistics.f_blocks - statistics.f_bfree) * statistics.f_frsize
        self._resize(str(used))
        try:
            yield
        finally:
            self._resize(_SIZE)

    def _resize(self, size: str) -> None:
        # Refused if more was written meanwhile than the new size: then this fault has no effect.
        command = ["mount", "-o", f"remount,size={size}", str(self.path)]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)

    @contextmanager
    def read_only(self, below: Path) -> Iterator[None]:
        """Forbid writing into a folder during the block.

        Root may write anywhere, so root's folder is mounted read-only upon itself.
        """
        if os.geteuid() != 0:
            folders = [below, *(path for path in below.rglob("*") if path.is_dir())]
            modes = {path: path.stat().st_mode for path in folders}
            try:
                for path in folders:
                    path.chmod(0o500)
                yield
            finally:
                for path, mode in modes.items():
                    with suppress(FileNotFoundError):
                        path.chmod(mode)
            return
        subprocess.run(["mount", "--bind", str(below), str(below)], check=True)
        try:
            # Refused while a file is open for writing: then this fault has no effect.
            subprocess.run(["mount", "-o", "remount,ro,bind", str(below)], check=False, stderr=subprocess.DEVNULL)
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(below)], check=True)


@contextmanager
def small_folder() -> Iterator[Folder]:
    """Make a temporary folder, a mounted one if possible, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        path = Path(name) / "disk"
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "chaos", str(path)]
        is_mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
        try:
            yield Folder(path, is_mounted=is_mounted)
        finally:
            if is_mounted:
                subprocess.run(["umount", "--lazy", str(path)], check=True)
