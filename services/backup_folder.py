"""A folder of backups: contents by their SHA-256, each once, and a manifest for each backup that names them.

    objects/ab/ab12...            a content; written under another name and renamed, so that it is whole or absent
    snapshots/<time>-<number>/manifest.json    which file of which part has which content
    snapshots/<time>-<number>/manifest.json.sha256    as ``sha256sum -c`` reads it

The number is the order of the backups: a clock may have been ahead when one was made. Those of earlier releases have
none, and come first.

All of it may be read by its owner only: it holds secrets.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.errors import BackupError

FORMAT: Final = 1
_TIME: Final = "%Y-%m-%dT%H-%M-%S.%fZ"
_NUMBER: Final = re.compile(r"Z-(\d+)$")
Part = Literal["secrets", "settings", "catalog", "mlflow", "label-studio", "store"]


class SavedFile(BaseModel):
    """A file of a part; ``path`` is relative to the part's folder, or the key in the raster store."""

    model_config = ConfigDict(frozen=True)

    part: Part
    path: str
    sha256: str
    size: int
    mtime_ns: int | None = None


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        format: Of this manifest.
        created: When the backup was begun, ISO 8601 in UTC.
        versions: Of the programs, and the revision of the schema.
        taken: When the snapshot of each part was taken, in this order.
        files: All files of all parts.
        left_out: What is not in the backup, and why.
    """

    format: int = FORMAT
    created: str
    versions: dict[str, str]
    taken: dict[str, str]
    files: list[SavedFile]
    left_out: list[str]


@dataclass(frozen=True)
class BackupFolder:
    """The folder; see the module."""

    root: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from making or deleting backups here during the block.

        A deletion would take the contents of a backup that another process is making: no manifest names them yet.

        Raises:
            BackupError: another process does so.
        """
        self._make(self.root)
        with open(self.root / ".lock", "w", opener=partial(os.open, mode=0o600)) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupError(
                    f"another process is making a backup in {self.root}: wait until it has ended, then try again"
                ) from error
            self._remove_unfinished()
            yield

    def _remove_unfinished(self) -> None:
        """Remove what a process that was killed has left: it stands in no manifest."""
        for part in (self.root / "objects").glob(".*"):
            part.unlink()

    def add(self, write: Callable[[Path], str]) -> tuple[str, int]:
        """Add a content.

        Args:
            write: Writes it to the path given, and returns its SHA-256.

        Returns:
            Its SHA-256, and its size in bytes.
        """
        self._make(self.root / "objects")
        part = self.root / "objects" / f".{uuid4().hex}"
        try:
            part.touch(mode=0o600)
            sha256 = write(part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            size, target = part.stat().st_size, self.object(sha256)
            self._make(target.parent)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
        return sha256, size

    def has(self, sha256: str, size: int) -> bool:
        """Return whether a content of this size is there."""
        try:
            return self.object(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def object(self, sha256: str) -> Path:
        """Return the path of a content."""
        return self.root / "objects" / sha256[:2] / sha256

    def names(self) -> list[str]:
        """Return the names of the finished backups, in the order in which they were made."""
        found = (self.root / "snapshots").glob("*/manifest.json.sha256")
        return sorted((path.parent.name for path in found), key=lambda name: (_number(name), name))

    def next_name(self, begun: datetime) -> str:
        """Return the name of a further backup, which was begun at a moment in UTC."""
        return f"{begun.strftime(_TIME)}-{1 + max(map(_number, self.names()), default=0)}"

    def made_later(self, moment: datetime) -> list[str]:
        """Return the names of the backups whose time is later than a moment: the clock was ahead, or is behind."""
        return [name for name in self.names() if name > f"{moment.strftime(_TIME)}-:"]  # ":" comes after digits

    def write(self, name: str, manifest: Manifest) -> None:
        """Write the manifest of a backup, which makes it valid."""
        folder = self.root / "snapshots" / name
        self._make(folder)
        text = manifest.model_dump_json(indent=1).encode()
        digest = f"{hashlib.sha256(text).hexdigest()}  manifest.json\n".encode()
        for file, content in (("manifest.json", text), ("manifest.json.sha256", digest)):
            with os.fdopen(os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(content)
                os.fsync(opened.fileno())

    def is_whole(self, name: str) -> bool:
        """Return whether the manifest of a backup is as it was written."""
        folder = self.root / "snapshots" / name
        try:
            expected = (folder / "manifest.json.sha256").read_text().split()[0]
            return sha256_of(folder / "manifest.json") == expected
        except (OSError, IndexError, UnicodeDecodeError):
            return False

    def damaged_manifests(self) -> list[str]:
        """Return the names of the backups whose manifest is damaged: what they need is not known."""
        return [name for name in self.names() if not self.is_whole(name)]

    def read(self, name: str) -> Manifest:
        """Read the manifest of a backup.

        Raises:
            BackupError: There is no such backup, it is damaged, or a later release wrote it.
        """
        folder = self.root / "snapshots" / name
        try:
            text = (folder / "manifest.json").read_bytes()
            expected = (folder / "manifest.json.sha256").read_text().split()[0]
        except (FileNotFoundError, IndexError) as error:
            raise BackupError(
                f"found no whole backup {name!r} in {self.root}; it has {self.names() or 'none'}"
            ) from error
        found = hashlib.sha256(text).hexdigest()
        if found != expected:
            raise BackupError(
                f"{folder / 'manifest.json'} is damaged: SHA-256 {found}, expected {expected}; use another"
            )
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise BackupError(f"{folder / 'manifest.json'} cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise BackupError(
                f"{folder} has the format {manifest.format}, expected {FORMAT}: use the release that wrote it"
            )
        return manifest

    def damaged(self, files: Sequence[SavedFile], show: Callable[[float], None] = lambda _share: None) -> list[str]:
        """Read all contents of these files, each once; return the paths of those that are damaged or missing.

        Args:
            files: The files.
            show: Told which share of them is read, 0 to 1.
        """
        whole: dict[str, bool] = {}
        for number, file in enumerate(files):
            show(number / len(files))
            if file.sha256 not in whole:
                path = self.object(file.sha256)
                whole[file.sha256] = path.exists() and sha256_of(path) == file.sha256
        return [f"{file.part}/{file.path}" for file in files if not whole[file.sha256]]

    def prune(self, keep: int) -> int:
        """Delete the oldest backups but for the newest ``keep``, and the contents that only they have; count them.

        One with a damaged manifest counts for none, and is left to a person; while it is there no content is deleted,
        since it may need any.
        """
        damaged = set(self.damaged_manifests())
        whole = [name for name in self.names() if name not in damaged]
        for name in whole[:-keep]:
            shutil.rmtree(self.root / "snapshots" / name)
        if not damaged:
            used = {file.sha256 for name in whole[-keep:] for file in self.read(name).files}
            for path in (self.root / "objects").glob("*/*"):
                if path.name not in used:
                    path.unlink()
        return len(whole[:-keep])

    def _make(self, folder: Path) -> None:
        for each in (*reversed(folder.parents), folder):  # `parents=True` would not give the mode to parents
            if not each.exists():
                each.mkdir(mode=0o700, exist_ok=True)


def _number(name: str) -> int:
    """Return the number in the name of a backup; 0 for one of an earlier release."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
