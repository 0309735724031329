"""Files that may hold secrets: written whole or not at all, and readable by their owner only."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_new(path: Path, text: str) -> None:
    """Make a file with mode 0600, and its folder where there is none.

    Raises:
        FileExistsError: there is such a file already; it is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _draft(path, text) as draft:
        os.link(draft, path)  # unlike a renaming, a link never replaces what is there


def replace(path: Path, text: str) -> None:
    """Put a file with mode 0600 in the place of an existing one; readers see the old text or the new."""
    with _draft(path, text) as draft:
        draft.replace(path)


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Write a file beside `path` that is removed at the end of the block, unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
