"""A local cache of the files of model versions, which are downloaded from MLflow and checked by SHA-256 at every use.

A file is hashed when it is used for the first time in a process, and again when its size, its times or its inode have
changed: hashing the 31 MB of an ONNX file takes 20 ms, comparing these numbers 2 microseconds, and `latest` is
asked for hundreds of times a second. A file that is not the registered one is downloaded again.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from uuid import uuid4

from cachetools import LRUCache

from catalog.errors import CatalogError
from catalog.registry import ModelRegistry, ModelVersion

log = logging.getLogger(__name__)

CARD = "card.json"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
FILES = (CARD, WEIGHTS, ONNX)


class CorruptBundleError(CatalogError):
    """The SHA-256 of a downloaded file differs from the one registered with its version."""


CHECKSUM_TAG = "sha256."  # followed by the name of the file


def checksum_tag(name: str) -> str:
    """Return the tag of a version that holds the SHA-256 of one of its files."""
    return f"{CHECKSUM_TAG}{name}"


_Stamp = tuple[int, int, int, int]
# By file and SHA-256: what the file was when it was last found right. Few versions are in use at a time.
_verified: LRUCache[tuple[Path, str], _Stamp] = LRUCache(100)
_verified_lock = Lock()


class BundleCache:
    """Downloads and caches bundle files. Versions are immutable, so a cached file never becomes stale."""

    def __init__(self, registry: ModelRegistry, folder: Path) -> None:
        self.registry = registry
        self.folder = folder

    def file(self, version: ModelVersion, name: str) -> Path:
        """Return the local path of one file of a version, downloading it if it is missing or damaged.

        Raises:
            NotFoundError: MLflow does not have the file.
            CorruptBundleError: it is not the file that was registered.
            ServiceDownError: MLflow does not answer.
        """
        held = self.held(version, name)
        if held is not None:
            return held
        path = self._path(version, name)
        if path.exists():
            log.error("%s is not what was registered for version %d; it is fetched again", path, version.version)
        self._check_and_store(version, name, self.registry.artifact(version, name))
        return path

    def held(self, version: ModelVersion, name: str) -> Path | None:
        """Return the local path of one file of a version; None if it would have to be downloaded. Asks nobody."""
        path, expected = self._path(version, name), version.tags.get(checksum_tag(name))
        return path if expected is not None and is_whole(path, expected) else None

    def adopt(self, version: ModelVersion, folder: Path) -> None:
        """Copy the files of a version into the cache, so that the machine that registered it need not download them.

        Raises:
            CorruptBundleError: a file is not the one that was registered.
        """
        for name in FILES:
            self._check_and_store(version, name, (folder / name).read_bytes())

    def directory(self, version: ModelVersion, names: Sequence[str] = FILES) -> Path:
        """Return the cache folder of a version after downloading its missing files.

        Args:
            version: the version.
            names: the files that are needed; all by default.

        Raises:
            NotFoundError: MLflow lacks a file.
            CorruptBundleError: a file is not the one that was registered.
            ServiceDownError: MLflow does not answer.
        """
        files = [self.file(version, name) for name in names]
        return files[0].parent

    def _path(self, version: ModelVersion, name: str) -> Path:
        # Two registries may use one folder: the run id tells their versions apart.
        return self.folder / f"{version.version}-{version.run_id}" / name

    def _check_and_store(self, version: ModelVersion, name: str, data: bytes) -> None:
        expected = version.tags.get(checksum_tag(name))
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise CorruptBundleError(
                f"{name} of version {version.version} has the SHA-256 {found}, expected {expected}; it was changed "
                "after it was registered: promote another version"
            )
        path = self._path(version, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{name}.{uuid4().hex}.part")
        part.write_bytes(data)
        part.rename(path)


def is_whole(path: Path, sha256: str) -> bool:
    """Return whether a file exists and has this SHA-256; a file that has not changed since is not read again."""
    try:
        found = path.stat()
        # The time of change of the inode cannot be set back, so that content changed under an old time is noticed, too.
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        with _verified_lock:
            if _verified.get((path, sha256)) == stamp:
                return True
        with path.open("rb") as file:
            is_right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
    if is_right:
        with _verified_lock:
            _verified[path, sha256] = stamp
    return is_right
