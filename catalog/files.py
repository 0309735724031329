"""Files that may hold secrets: written whole or not at all, and readable by their owner only."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_new(path: Path, text: str) -> None:
    """Create a file with mode 0600, and its folder if it is missing.

    Raises:
        FileExistsError: the file exists; it is not changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _draft(path, text) as draft:
        os.link(draft, path)  # unlike a rename, a link never replaces an existing file


def replace(path: Path, text: str) -> None:
    """Replace a file atomically by one with mode 0600; readers see either the old or the new text."""
    with _draft(path, text) as draft:
        draft.replace(path)


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Write a temporary file next to `path`; remove it at the end of the block unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
