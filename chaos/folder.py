"""The data folder of a chaos run on a small file system of its own, which can be filled and made read-only."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_SIZE: Final = "2g"
_TRIES: Final = 20


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
    def full(self) -> Iterator[bool]:
        """Leave no space during the block: the file system shrinks to what is in it.

        Yields:
            Whether that succeeded: it is refused if more is written meanwhile, and is then tried again.
        """
        try:
            yield any(self._resize(str(self._used_bytes())) for _ in range(_TRIES))
        finally:
            self._resize(_SIZE)

    def _used_bytes(self) -> int:
        statistics = os.statvfs(self.path)
        return (statistics.f_blocks - statistics.f_bfree) * statistics.f_frsize

    def _resize(self, size: str) -> bool:
        return _succeeds(["mount", "-o", f"remount,size={size}", str(self.path)])

    @contextmanager
    def read_only(self, below: Path) -> Iterator[bool]:
        """Forbid writing into a folder during the block.

        Root may write anywhere, so root's folder is mounted read-only upon itself.

        Yields:
            Whether that succeeded: a mount is refused while a file is open for writing.
        """
        if os.geteuid() == 0:
            subprocess.run(["mount", "--bind", str(below), str(below)], check=True)
            try:
                yield _succeeds(["mount", "-o", "remount,ro,bind", str(below)])
            finally:
                subprocess.run(["umount", "--lazy", str(below)], check=True)
            return
        modes = {path: path.stat().st_mode for path in [below, *below.rglob("*")] if path.is_dir()}
        try:
            for path in modes:
                path.chmod(0o500)
            yield True
        finally:
            for path, mode in modes.items():
                with suppress(FileNotFoundError):
                    path.chmod(mode)


@contextmanager
def small_folder() -> Iterator[Folder]:
    """Make a temporary folder, a mounted one if possible, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        path = Path(name) / "disk"
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "chaos", str(path)]
        is_mounted = os.geteuid() == 0 and _succeeds(mount)
        try:
            yield Folder(path, is_mounted=is_mounted)
        finally:
            if is_mounted:
                subprocess.run(["umount", "--lazy", str(path)], check=True)


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
