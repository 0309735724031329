"""The folder of an export: it appears whole or not at all, and never replaces what is not an earlier export.

Files are written into a hidden folder beside the target, which is then renamed. A file `export.json` says what the
folder holds, and `checksums.sha256` lists its files; a folder that holds any other file is never replaced.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imagery.errors import ExportError

MANIFEST: Final = "export.json"
CHECKSUMS: Final = "checksums.sha256"
_FORMAT: Final = "glacier-al export"


@dataclass
class ExportFolder:
    """An export that is being written.

    Attributes:
        path: The hidden folder that takes the files.
        kind: What is exported ("dataset").
        sha256: Checksum of each file written so far, by its path in the folder.
    """

    path: Path
    kind: str
    sha256: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the export; its folder is made if it is missing.

        Args:
            name: Path in the folder, with forward slashes.
            data: Its content.

        Raises:
            ExportError: It cannot be written.
        """
        target = self.path / name
        with _told(self.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.sha256[name] = hashlib.sha256(data).hexdigest()

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text in UTF-8."""
        self.write(name, text.encode())

    def note(self, name: str) -> None:
        """Take a file that was written into the folder by other means into the checksums."""
        with _told(self.path), (self.path / name).open("rb") as file:
            self.sha256[name] = hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def export_folder(target: Path, kind: str, about: Mapping[str, Any]) -> Iterator[ExportFolder]:
    """Write an export in the block; it appears under its name when the block ends without an error.

    Args:
        target: The folder to make. It may exist if it is empty, or if it holds an earlier export of the same kind and
            nothing else; this export is then replaced.
        kind: What is exported ("dataset").
        about: More to state in `export.json`; read when the block ends.

    Raises:
        ExportError: There is something else under that name, or the folder cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - a link in the path stays one
    check_replaceable(target, kind)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    except OSError as error:
        raise ExportError(f"{target}: the folder cannot be written ({error.strerror}); name another one") from error
    try:
        draft.chmod(0o755)  # made readable for its owner only
        export = ExportFolder(draft, kind)
        yield export
        with _told(target):
            _complete(export, about)
            _replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn errors of our own writing into ExportError: others, as of a store that is away, may pass by themselves."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"{folder}: the export cannot be written ({error.strerror or error})") from error


def check_replaceable(target: Path, kind: str) -> None:
    """Raise ExportError unless an export may be written under this name.

    Raises:
        ExportError: There is a file, or a folder with anything but an earlier export of this kind.
    """
    try:
        present = {path.name for path in target.iterdir()} if target.exists() or target.is_symlink() else set()
    except (OSError, ValueError) as error:  # ValueError: the name holds a null byte
        reason = getattr(error, "strerror", None) or error
        raise ExportError(
            f"{target}: found no folder ({reason}); expected the name of a new or empty folder"
        ) from error
    if not present:
        return
    if not _is_export(target, kind):
        raise ExportError(
            f"{target}: found a folder with {len(present)} entries that is no earlier {kind} of this program; expected "
            "a new or empty folder, so that nothing is overwritten: name another one"
        )
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if strange := sorted(files - listed_files(target) - {MANIFEST, CHECKSUMS}):
        raise ExportError(
            f"{target}: found {', '.join(strange[:3])} beside an earlier {kind}; expected nothing else, because the "
            "folder is replaced: move them away, or name another folder"
        )


def listed_files(folder: Path) -> set[str]:
    """Return the files that an export lists in its checksums; none if it has no such list."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return set()
    return {line.partition("  ")[2] for line in lines}


def _is_export(folder: Path, kind: str) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and (manifest.get("format"), manifest.get("kind")) == (_FORMAT, kind)


def _complete(export: ExportFolder, about: Mapping[str, Any]) -> None:
    """Write the checksums and the manifest."""
    lines = (f"{checksum}  {name}\n" for name, checksum in sorted(export.sha256.items()))
    (export.path / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
    manifest = {"format": _FORMAT, "format_version": 1, "kind": export.kind, **about}
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (export.path / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _replace(draft: Path, target: Path) -> None:
    """Rename the draft; an earlier export is moved aside first and then deleted."""
    if not target.exists() or not any(target.iterdir()):
        draft.rename(target)  # replaces an empty folder
        return
    old = draft.with_suffix(".old")
    target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
