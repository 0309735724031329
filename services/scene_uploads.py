"""Files of scenes that people send from their browsers: folders below the scene folder, filled part by part.

A product has gigabytes, and a request lasts a minute at most (`al_server.http_server`): a file comes in parts, each a
request of its own. Until the last part is there its name is hidden, so that nobody takes half a file for a whole one.
Only folders that hold `_MARK` were made here; no other takes a file, and no other is ever removed.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.errors import ConflictError, InvalidInputError, NoSpaceError, NotFoundError
from catalog.records import Scene, now
from imagery.vector_files import ENDINGS as VECTOR_ENDINGS
from imagery.vector_files import SHAPEFILE_PARTS
from services.free_disk import DISK_LOW_BYTES
from services.scene_request import SceneRequest

log = logging.getLogger(__name__)

FOLDER: Final = "uploads"
"""Name of the folder, below the scene folder, that holds a folder for each upload."""
FOLDER_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,98}$"
FILE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,198}$"
_MARK: Final = ".uploaded"
OUTLINE_ENDINGS: Final = tuple(dict.fromkeys((*VECTOR_ENDINGS, *SHAPEFILE_PARTS)))
"""Endings of the names of files with outlines, in small letters."""
ENDINGS: Final = (".tif", ".tiff", ".jp2", ".hgt", ".asc", ".txt", ".xml", ".tar", *OUTLINE_ENDINGS)
"""Endings of the names of files that are taken, in small letters."""
_BLOCK: Final = 2**20


@dataclass(frozen=True)
class Received:
    """How much of a file is there.

    Attributes:
        path: The file, as requests that register a scene name it.
        received: Bytes that are there.
        size: Bytes of the whole file.
    """

    path: str
    received: int
    size: int


def create_folder(catalog: Catalog, wanted: str) -> str:
    """Make a folder for the files of one upload; return its name: the wanted one, or with a number if it is taken.

    Raises:
        InvalidInputError: the name is not one that a folder may have.
        NoSpaceError: the scene folder cannot be written.
    """
    if not re.fullmatch(FOLDER_NAME, wanted):
        raise InvalidInputError(f"found the name {wanted!r}; expected up to 99 letters, digits, hyphens and _")
    parent = _parent(catalog)
    with _written(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            name = wanted if number == 1 else f"{wanted}-{number}"
            try:
                (parent / name).mkdir()
            except FileExistsError:
                continue
            (parent / name / _MARK).touch()
            return name
    raise ConflictError(f"all names that begin with {wanted!r} are taken; give another one")


def receive(catalog: Catalog, folder: str, name: str, part: IO[bytes], offset: int, size: int) -> Received:
    """Write a part of a file; the file appears under its name once all parts are there.

    The same part may come again, because an answer was lost. A file may be replaced while no scene uses its folder.

    Args:
        catalog: the catalog.
        folder: the name of a folder that `create_folder` has made.
        name: the name of the file.
        part: its bytes from `offset` on.
        offset: bytes before this part.
        size: bytes of the whole file.

    Raises:
        NotFoundError: there is no such folder.
        InvalidInputError: the name or the size is not one that is taken.
        ConflictError: a scene uses the folder, or parts before this one are missing.
        NoSpaceError: the disk would be short of space, or cannot be written.
    """
    target = _checked_folder(catalog, folder) / _checked_name(name)
    most = catalog.settings.scene_upload_max_bytes
    if size > most:
        raise InvalidInputError(
            f"{name}: found {size:,} bytes; expected at most {most:,} (setting scene_upload_max_bytes)"
        )
    with catalog.read() as session:
        user = users_of(session, [target.parent]).get(target.parent)
    if user is not None:
        raise ConflictError(f"the scene {user} uses the files of {folder!r}; make another folder for further ones")
    partial = target.with_name(f".{name}.part")
    with _written(target.parent):
        if offset == 0:
            partial.touch()
        there = partial.stat().st_size if partial.exists() else 0
        if not there and target.exists() and target.stat().st_size == size:  # the answer to the last part was lost
            there = size
        if offset > there:
            raise ConflictError(f"{name}: found a part that begins at byte {offset:,}; expected byte {there:,}")
        if there == size and not partial.exists():
            return Received(_shown(target), size, size)
        _check_space(target.parent, size - offset)
        with partial.open("r+b") as file:
            file.seek(offset)
            file.truncate()
            while block := part.read(_BLOCK):
                if file.tell() + len(block) > size:
                    raise InvalidInputError(f"{name}: found more than the {size:,} bytes that it is said to have")
                file.write(block)
            received = file.tell()
            if received == size:
                file.flush()
                os.fsync(file.fileno())
        if received == size:
            partial.replace(target)
    return Received(_shown(target), received, size)


def uploaded_folders(catalog: Catalog) -> list[Path]:
    """Return the folders that people have filled, or begin to fill, by name."""
    try:
        return sorted(entry for entry in _parent(catalog).iterdir() if (entry / _MARK).is_file())
    except OSError:
        return []


def keep_longer(catalog: Catalog, request: SceneRequest) -> None:
    """Begin the time of the folders anew that a request names: it may be carried out just when that has passed."""
    named = request.model_dump_json()
    for folder in uploaded_folders(catalog):
        if re.search(rf'{FOLDER}/{re.escape(folder.name)}[/"]', named):
            with suppress(OSError):  # a read-only folder is not removed either
                (folder / _MARK).touch()


def remove_abandoned(catalog: Catalog) -> list[str]:
    """Delete the folders that no scene came to use within `scene_upload_keep_days`; return their names."""
    if not catalog.settings.scene_upload_keep_days:
        return []
    before = (now() - timedelta(days=catalog.settings.scene_upload_keep_days)).timestamp()
    old = [folder for folder in uploaded_folders(catalog) if _last_written(folder) < before]
    with catalog.read() as session:
        used = users_of(session, old)
    abandoned = [folder for folder in old if folder not in used]
    for folder in abandoned:
        shutil.rmtree(folder)
    return [folder.name for folder in abandoned]


def users_of(session: Session, folders: Iterable[Path]) -> dict[Path, str]:
    """Return which of some folders hold files of a scene, with the name of one; that of a removed scene counts, too."""
    scenes = session.execute(select(Scene.name, Scene.source, Scene.outlines, Scene.prior_outlines)).all()
    found = {}
    for folder in folders:
        beginning = json.dumps(f"{folder}/")[1:-1]
        for name, *files in scenes:
            if beginning in json.dumps(files):
                found[folder] = name
    return found


def _parent(catalog: Catalog) -> Path:
    return catalog.settings.scene_root.resolve() / FOLDER


def _checked_folder(catalog: Catalog, name: str) -> Path:
    folder = _parent(catalog) / name
    if not re.fullmatch(FOLDER_NAME, name) or folder.is_symlink() or not (folder / _MARK).is_file():
        raise NotFoundError(f"there is no folder {name!r} for files that are sent; make one first")
    return folder


def _checked_name(name: str) -> str:
    if not re.fullmatch(FILE_NAME, name) or not name.lower().endswith(ENDINGS):
        raise InvalidInputError(
            f"found the file name {name!r}; expected letters, digits, '.', '_' and '-', and one of the endings "
            f"{' '.join(ENDINGS)}"
        )
    return name


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free - needed < DISK_LOW_BYTES:
        raise NoSpaceError(
            f"found {free / 1e9:.1f} GB of free disk; expected {(needed + DISK_LOW_BYTES) / 1e9:.1f} GB, of which "
            f"{DISK_LOW_BYTES / 1e9:.0f} GB stay free: make room on the server first"
        )


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Let a folder that cannot be written become an error that says so."""
    try:
        yield
    except OSError as error:
        log.exception("a file that was sent cannot be written below %s", folder)
        raise NoSpaceError(
            f"the scene folder of this server cannot be written ({error.strerror}); whoever runs the server has to "
            "make room or allow it"
        ) from error


def _last_written(folder: Path) -> float:
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def _shown(path: Path) -> str:
    return f"{FOLDER}/{path.parent.name}/{path.name}"
