"""Reading zip archives from outside: whatever zipfile raises at a damaged one is one error with a reason."""

import errno
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FAULTS: Final = (
    EOFError,
    ValueError,  # names that are no UTF-8, and places that no file has
    NotImplementedError,  # another compression, or a newer version
    RuntimeError,  # a password is needed
    zlib.error,
    lzma.LZMAError,
)
_PART_BYTES: Final = 1 << 20


@contextmanager
def open_zip(path: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what the block raises is not touched.

    Raises:
        OSError: The file cannot be opened or read.
        zipfile.BadZipFile: It cannot be read.
    """
    with Path(path).open("rb") as file:
        with _as_bad_zip():
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


def files_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members that are no folders.

    Raises:
        zipfile.BadZipFile: A member has no name.
    """
    members = archive.infolist()
    if not all(member.filename for member in members):
        raise zipfile.BadZipFile("a file without a name")
    return [member for member in members if not member.is_dir()]


def content_of(
    archive: zipfile.ZipFile, member: str | zipfile.ZipInfo, part_bytes: int = _PART_BYTES
) -> Iterator[bytes]:
    """Yield the content of a member in parts; zipfile stops at the size that the member declares.

    Raises:
        zipfile.BadZipFile: It cannot be read.
        KeyError: There is no such member.
    """
    with _as_bad_zip():
        file = archive.open(member)
    with file:
        while True:
            with _as_bad_zip():
                part = file.read(part_bytes)
            if not part:
                return
            yield part


@contextmanager
def _as_bad_zip() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {None, errno.EINVAL}:
            raise  # of the disk
        raise zipfile.BadZipFile(str(error)) from error  # damaged bzip2, and places before the begin
    except _FAULTS as error:
        raise zipfile.BadZipFile(str(error) or "it ends too early") from error
