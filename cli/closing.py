"""Close the data folder to all other users of the machine."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_for_owner_only() -> None:
    """Have this process, and all that it starts, make files that only their owner may read or write."""
    os.umask(_OTHERS)


def close_to_others(folder: Path) -> None:
    """Take all rights of group and others from a folder and all that is in it; symbolic links are not followed.

    The folder itself comes last: if it is closed already, then so was all that was in it, and nothing is done.
    """
    if not folder.stat().st_mode & _OTHERS:
        return
    for path in _below(folder):
        mode = path.lstat().st_mode
        if mode & _OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_OTHERS)


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)
        yield path
