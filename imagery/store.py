"""The raster store: files by key, in a local directory or any place that fsspec can write and GDAL can read."""

import hashlib
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from imagery.errors import StoreError

# Segments begin with a letter or digit, so no key is "..", a hidden file or an absolute path.
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LONGEST_KEY: Final = 512


class RasterStore:
    """Stores files by key under one root.

    Keys look like relative paths ("masks/17.tif"): letters, digits, ".", "_" and "-", each segment beginning with a
    letter or digit. A file is never half written: it is written under a hidden name and then renamed.
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
        self._fs.pipe_file(hidden, data)
        self._fs.mv(hidden, path)
        return hashlib.sha256(data).hexdigest()

    def put_file(self, key: str, source: Path) -> None:
        """Store a copy of a local file, which need not fit in memory, replacing an earlier file.

        Raises:
            StoreError: The key is malformed.
        """
        path, hidden = self._paths(key)
        self._fs.put_file(str(source), hidden)
        self._fs.mv(hidden, path)

    def get(self, key: str) -> bytes:
        """Return the bytes stored under a key.

        Raises:
            StoreError: The key is malformed, or nothing is stored under it.
        """
        try:
            data: bytes = self._fs.cat_file(self._path(key))
        except FileNotFoundError as error:
            raise StoreError(f"found nothing under {self.uri(key)}; expected a stored file") from error
        return data

    def exists(self, key: str) -> bool:
        """Return whether something is stored under a key.

        Raises:
            StoreError: The key is malformed.
        """
        return bool(self._fs.exists(self._path(key)))

    def delete(self, key: str) -> None:
        """Delete the file stored under a key.

        Raises:
            StoreError: The key is malformed, or nothing is stored under it.
        """
        try:
            self._fs.rm_file(self._path(key))
        except FileNotFoundError as error:
            raise StoreError(f"found nothing under {self.uri(key)}; expected a stored file") from error

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
            StoreError: The key is malformed.
        """
        path = self._path(key)
        return path if "file" in _protocols(self._fs) else str(self._fs.unstrip_protocol(path))

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
