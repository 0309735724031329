"""Reading tar archives from outside: whatever tarfile raises at a damaged one is one error with a reason."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

_FAULTS: Final = (
    ValueError,  # numbers that are none, and places that no file has
    IndexError,  # a list of the parts of a sparse file that ends too early
    RecursionError,  # headers before headers
)
_PART_BYTES: Final = 1 << 16
_MOST_ATTRIBUTES: Final = 100  # of a member; tarfile copies those that the archive states for all to each


@contextmanager
def open_tar(path: str) -> Iterator[tarfile.TarFile]:
    """Open an archive that is not compressed; what the block raises is not touched.

    Raises:
        OSError: The file cannot be opened or read.
        tarfile.TarError: It cannot be read.
    """
    with _BoundedReads(io.FileIO(path)) as file:
        with _as_tar_error():
            archive = tarfile.TarFile(fileobj=file)
        with archive:
            yield archive


def members_of(archive: tarfile.TarFile, most: int) -> list[tarfile.TarInfo]:
    """Return the first members: a member of negative size leads back to those before it, without end.

    Raises:
        tarfile.TarError: It cannot be read.
    """
    members = []
    with _as_tar_error():
        for member in islice(archive, most):
            if len(member.pax_headers) > _MOST_ATTRIBUTES:
                raise tarfile.ReadError(
                    f"found {len(member.pax_headers)} attributes of a member; expected at most {_MOST_ATTRIBUTES}"
                )
            members.append(member)
    return members


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    """Yield the content of a member in parts of 64 KiB; nothing if it is no file.

    Raises:
        tarfile.TarError: It cannot be read.
    """
    with _as_tar_error():
        file = archive.extractfile(member)
    while file:
        with _as_tar_error():
            part = file.read(_PART_BYTES)
        if not part:
            return
        yield part


class _BoundedReads(io.BufferedReader):
    """A file of which at most 64 KiB are read at once: tarfile reads a long name whole, whatever size it states."""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes.

        Raises:
            tarfile.ReadError: The size is negative or too large.
        """
        if size is None or not 0 <= size <= _PART_BYTES:
            raise tarfile.ReadError(f"found a header of {size} bytes; expected at most {_PART_BYTES}")
        return super().read(size)


@contextmanager
def _as_tar_error() -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise tarfile.ReadError(str(error)) from error
