"""The raster store: files by key, in a local directory or any place that fsspec can write and GDAL can read.

Beside each file lies a hidden one with its SHA-256, as Hadoop's ``ChecksumFileSystem`` keeps them: a file that was
truncated, changed or replaced behind our back is noticed when it is used, moved to the folder ``damaged``, and counts
as absent from then on, so that whatever makes it can make it again.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from cachetools import LRUCache
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from imagery.errors import DamagedFileError, StoreError

# Segments begin with a letter or digit, so no key is "..", a hidden file or an absolute path.
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_HALF_WRITTEN: Final = re.compile(r"\..+\.[0-9a-f]{32}")
_LONGEST_KEY: Final = 512
DAMAGED: Final = "damaged"
"""The folder, beside those of the keys, to which damaged files are moved."""

_Read = TypeVar("_Read")
_Stamp = tuple[int, int, int, int]  # size, times of change of content and inode, number of inode
# By path: what a local file was when its checksum was last found right. Of more files, it is compared again.
_verified: LRUCache[str, _Stamp] = LRUCache(10_000)
_verified_lock = Lock()


class RasterStore:
    """Stores files by key under one root.

    Keys look like relative paths ("masks/17.tif"): letters, digits, ".", "_" and "-", each segment beginning with a
    letter or digit. A file is never half written: it is written under a hidden name and then renamed.

    `get` checks the SHA-256 of every file. `uri`, which hands a file to GDAL, and `exists` check a local file once, and
    again when its size, its times or its inode have changed; of a file in an object store, which would have to be
    downloaded whole, they check nothing.
    """

    def __init__(self, root: str) -> None:
        """Open a store.

        Args:
            root: A directory, taken literally, or an fsspec URL ("s3://bucket/prefix"); created by the first `put`.
        """
        self._fs: Any
        # fsspec would split a directory's name at "::" and expand a leading "~".
        self._fs, base = url_to_fs(root) if "://" in root else (LocalFileSystem(), os.path.abspath(root))  # noqa: PTH100
        self._base = base.rstrip("/")

    def put(self, key: str, data: bytes) -> str:
        """Store bytes under a key, replacing an earlier file.

        Returns:
            The SHA-256 of the bytes, in hexadecimal.

        Raises:
            StoreError: The key is malformed.
        """
        path, hidden = self._paths(key)
        checksum = hashlib.sha256(data).hexdigest()
        with self._whole_or_gone(hidden):
            self._fs.pipe_file(hidden, data)
            self._replace(path, hidden, checksum)
        return checksum

    @contextmanager
    def putting(self, key: str, data: bytes) -> Iterator[None]:
        """Store bytes under a new key, and delete them again unless the block ends well.

        Raises:
            StoreError: The key is malformed.
        """
        self.put(key, data)
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error is told, not one of the store that has just gone
                self.delete(key)
            raise

    def put_file(self, key: str, source: Path) -> None:
        """Store a copy of a local file, which need not fit in memory, replacing an earlier file.

        Raises:
            StoreError: The key is malformed.
        """
        path, hidden = self._paths(key)
        with source.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        with self._whole_or_gone(hidden):
            self._fs.put_file(str(source), hidden)
            self._replace(path, hidden, checksum)

    def get(self, key: str, sha256: str | None = None) -> bytes:
        """Return the bytes stored under a key, after checking them.

        Args:
            key: The key.
            sha256: The checksum expected; by default the one that was noted when the file was stored.

        Raises:
            DamagedFileError: The file is not what was stored; it has been moved to `DAMAGED`.
            StoreError: The key is malformed, or nothing is stored under it.
        """
        path = self._path(key)

        def read() -> tuple[str, bytes]:
            data: bytes = self._fs.cat_file(path)
            return hashlib.sha256(data).hexdigest(), data

        return self._checked(key, sha256, read)

    def exists(self, key: str) -> bool:
        """Return whether something is stored under a key; a damaged local file is moved aside, and counts as absent.

        Raises:
            StoreError: The key is malformed.
        """
        try:
            self._verify(key)
        except DamagedFileError:
            return False
        return bool(self._fs.exists(self._path(key)))

    def check(self, key: str, sha256: str | None = None) -> str:
        """Read a whole file and return its SHA-256, whatever was verified before.

        Arguments and errors are those of `get`; a file that was stored without a checksum passes.
        """
        path = self._path(key)

        def read() -> tuple[str, str]:
            with self._fs.open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            return found, found

        return self._checked(key, sha256, read)

    def fetch(self, key: str, target: Path) -> str:
        """Copy a file to a local path, which need not fit in memory; return its SHA-256. Errors are those of `get`."""

        def read() -> tuple[str, str]:
            self._fs.get_file(self._path(key), str(target))
            with target.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            return found, found

        return self._checked(key, None, read)

    def checksum(self, key: str) -> str | None:
        """Return the SHA-256 of what was last stored under a key, even if the file is gone; None if none is known.

        Raises:
            StoreError: The key is malformed.
        """
        known = self._checksums(self._path(key))
        return known[-1] if known else None

    def all_keys(self) -> list[str]:
        """Return the keys of all stored files, sorted, without those that were found damaged."""
        return self._keys_below(self._base)

    def keys_in(self, folder: str) -> list[str]:
        """Return the keys that begin with this one and a "/", sorted; none if there is nothing.

        Raises:
            StoreError: The key of the folder is malformed.
        """
        return self._keys_below(self._path(folder))

    def _keys_below(self, path: str) -> list[str]:
        found: Sequence[str] = self._fs.find(path) if self._fs.exists(path) else []
        keys = (path.removeprefix(f"{self._base}/") for path in found)
        return sorted(key for key in keys if _KEY.fullmatch(key) and not key.startswith(f"{DAMAGED}/"))

    def damaged(self) -> list[str]:
        """Return the keys of the files that were found damaged, sorted; `forget_damaged` shortens the list."""
        folder = f"{self._base}/{DAMAGED}"
        found: Sequence[str] = self._fs.find(folder) if self._fs.exists(folder) else []
        return sorted(path.removeprefix(f"{folder}/") for path in found)

    def forget_damaged(self, key: str) -> None:
        """Delete the damaged copy of a file, after the file was made again or nobody needs it any more."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._base}/{DAMAGED}/{key}")

    def remove_half_written(self, older_than_s: float) -> list[str]:
        """Remove what writers that were killed left in a local store: files under hidden names that nobody writes now.

        Args:
            older_than_s: Time in seconds since the last change after which no writer is still at work.

        Returns:
            The paths that were removed.
        """
        if not self.is_local:
            return []  # an object store shows a file only when it is whole
        latest = time.time() - older_than_s
        left = [path for path in Path(self._base).rglob(".*") if _HALF_WRITTEN.fullmatch(path.name)]
        old = [path for path in left if path.is_file() and path.stat().st_mtime < latest]
        for path in old:
            path.unlink(missing_ok=True)
        return [str(path) for path in old]

    def is_older(self, key: str, seconds: float) -> bool:
        """Return whether a file is stored, and has been so for more than so many seconds.

        Raises:
            StoreError: The key is malformed.
        """
        try:
            stored: datetime = self._fs.modified(self._path(key))
        except FileNotFoundError:
            return False
        return (datetime.now(UTC) - stored).total_seconds() > seconds

    def delete(self, key: str) -> None:
        """Delete the file stored under a key.

        Raises:
            StoreError: The key is malformed, or nothing is stored under it.
        """
        path = self._path(key)
        try:
            self._fs.rm_file(path)
        except FileNotFoundError as error:
            raise self._absent(key) from error
        with suppress(FileNotFoundError):
            self._fs.rm_file(checksum_file(path))

    def delete_folder(self, key: str) -> None:
        """Remove everything whose key begins with this one and a "/"; nothing if there is nothing.

        Raises:
            StoreError: The key is malformed.
        """
        with suppress(FileNotFoundError):
            self._fs.rm(self._path(key), recursive=True)

    def uri(self, key: str) -> str:
        """Return the path (local store) or URL of a key, as `imagery.raster_file.open_raster` takes it.

        Raises:
            DamagedFileError: The local file is not what was stored; it has been moved to `DAMAGED`.
            StoreError: The key is malformed.
        """
        self._verify(key)
        return self._uri(key)

    def _uri(self, key: str) -> str:
        path = self._path(key)
        return path if self.is_local else str(self._fs.unstrip_protocol(path))

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine, as far as its file system tells."""
        return "file" in _protocols(self._fs)

    @property
    def folder(self) -> Path | None:
        """The directory of a local store, which the first `put` makes; None of an object store."""
        return Path(self._base) if self.is_local else None

    def _verify(self, key: str) -> None:
        """Compare a local file with its checksum, unless it is as it was when it was last compared."""
        path = self._path(key)
        if not self.is_local or not os.path.isfile(path):  # noqa: PTH113
            return
        stamp = _stamp(path)
        with _verified_lock:
            is_known = _verified.get(path) == stamp
        if not is_known:
            self.check(key)
            with _verified_lock:
                _verified[path] = stamp

    def _checked(self, key: str, sha256: str | None, read: Callable[[], tuple[str, _Read]]) -> _Read:
        """Read a file and compare its checksum; see `get`.

        Args:
            key: The file.
            sha256: The checksum expected; None for the one that was noted.
            read: Returns the checksum found, and what to return; raises FileNotFoundError.
        """
        before = None
        while True:
            try:
                found, content = read()
            except FileNotFoundError as error:
                raise self._absent(key) from error
            expected = self._checksums(self._path(key)) if sha256 is None else [sha256]
            if not expected or found in expected:
                return content
            if found == before:
                raise self._set_aside(key, found, expected)
            before = found  # Read again: the file may have been replaced between reading it and its checksum.

    def _absent(self, key: str) -> StoreError:
        return StoreError(f"found nothing under {self._uri(key)}; expected a stored file")

    def _set_aside(self, key: str, found: str, expected: Sequence[str]) -> DamagedFileError:
        """Move a damaged file to `DAMAGED`; its checksum stays, to compare with the file that will take its place."""
        path, aside = self._path(key), f"{self._base}/{DAMAGED}/{key}"
        self._fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster
            self._fs.mv(path, aside)
        return DamagedFileError(
            key,
            f"{self._uri(key)} is damaged: found the SHA-256 {found}, expected {' or '.join(expected)}; it was moved "
            f"to {aside}, and will be made again",
        )

    @contextmanager
    def _whole_or_gone(self, hidden: str) -> Iterator[None]:
        """Remove a half-written file if the block fails, e.g. because the disk is full: nobody else would."""
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self._fs.rm_file(hidden)
            raise

    def _replace(self, path: str, hidden: str, checksum: str) -> None:
        """Put a file in the place of an earlier one.

        Its checksum is noted first, beside that of the earlier file: a reader, or a crash, between the steps finds a
        file with one of the two.
        """
        earlier = [known for known in self._checksums(path)[-1:] if known != checksum and self._fs.exists(path)]
        self._note(path, [*earlier, checksum])
        self._fs.mv(hidden, path)
        if earlier:
            self._note(path, [checksum])

    def _note(self, path: str, checksums: Sequence[str]) -> None:
        beside = checksum_file(path)
        part = f"{beside}.{uuid.uuid4().hex}"
        self._fs.pipe_file(part, "\n".join(checksums).encode())
        self._fs.mv(part, beside)

    def _checksums(self, path: str) -> list[str]:
        """Return the checksums that a file may have; none if it was stored by a release that noted none."""
        try:
            noted: bytes = self._fs.cat_file(checksum_file(path))
        except FileNotFoundError:
            return []
        return noted.decode("ascii", errors="replace").split()

    def _paths(self, key: str) -> tuple[str, str]:
        """Return the path of a key and a hidden path beside it to write first; creates their folder."""
        path = self._path(key)
        parent, _, name = path.rpartition("/")
        self._fs.makedirs(parent, exist_ok=True)
        return path, f"{parent}/.{name}.{uuid.uuid4().hex}"

    def _path(self, key: str) -> str:
        if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key):
            raise StoreError(
                f"found the key {key[:_LONGEST_KEY]!r}; expected segments of letters, digits, '.', '_' and '-', each "
                f"beginning with a letter or digit, joined by '/', at most {_LONGEST_KEY} characters"
            )
        return f"{self._base}/{key}"


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def checksum_file(path: str) -> str:
    """Return the path of the file that holds the checksum of the file at a path."""
    parent, _, name = path.rpartition("/")
    return f"{parent}/.{name}.sha256"


def _stamp(path: str) -> _Stamp:
    # The time of change of the inode cannot be set back, so that content changed under an old time is noticed, too.
    found = os.stat(path)  # noqa: PTH116
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
