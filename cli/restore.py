"""Restore a backup into an empty data folder."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Final

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, make_url

from catalog import jobs
from catalog.database import MIGRATIONS, Database
from catalog.records import JobKind
from catalog.settings import Settings
from cli.errors import StartError
from imagery.store import RasterStore
from services.backup_folder import BackupFolder, Manifest, SavedFile, sha256_of
from services.database_copies import load_postgresql

UNFINISHED: Final = "restore-unfinished"
"""A file in the data folder while it is being restored; `up` refuses a folder that has it."""


def restore(
    root: Path, name: str | None, var_dir: Path, say: Callable[[str], None], show: Callable[[float], None]
) -> str:
    """Restore a backup, the newest if none is named, into a data folder; return its name.

    All contents are checked before anything is written.

    Args:
        root: The folder of the backups.
        name: The backup.
        var_dir: The data folder.
        say: Told what is done.
        show: Told which share of the work is done, 0 to 1: of two halves, checking and writing.

    Raises:
        StartError: The backup is damaged, of a later release, or the place to restore to is not empty.
    """
    folder = BackupFolder(root)
    names = folder.names()
    if name is None and not names:
        raise StartError(f"found no backup in {root}; expected the folder that `glacier-al backup` was given")
    name = name or names[-1]
    manifest = folder.read(name)
    _check_release(manifest)
    say(f"Checking {len(manifest.files)} files of the backup {name}")
    if damaged := folder.damaged(manifest.files, lambda share: show(share / 2)):
        raise StartError(
            f"{len(damaged)} files of the backup {name} are damaged or missing, e.g. {damaged[0]}; nothing was "
            f"restored: use another of {', '.join(names)}, or another copy of {root}"
        )
    if var_dir.exists() and any(var_dir.iterdir()):
        raise StartError(f"{var_dir} is not empty; name an empty folder in GLACIER_AL_VAR_DIR, or move this one away")
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, var_dir, ignore_errors=True)  # it was empty
        (var_dir / UNFINISHED).touch()
        _write(folder, manifest, var_dir, say, show, undo)
        (var_dir / UNFINISHED).unlink()
        undo.pop_all()
    for line in manifest.left_out:
        say(f"Not in the backup: {line}")
    return name


def _write(
    folder: BackupFolder,
    manifest: Manifest,
    var_dir: Path,
    say: Callable[[str], None],
    show: Callable[[float], None],
    undo: ExitStack,
) -> None:
    """Write all parts; what `undo` is given takes back what was written, also outside the data folder."""
    written = count(1)

    def of(*parts: str) -> Iterator[SavedFile]:
        for file in manifest.files:
            if file.part in parts:
                yield file
                show(0.5 + next(written) / len(manifest.files) / 2)

    for file in of("settings"):  # first: it may name another database, store or file of secrets
        _place(folder, file, var_dir / file.path, undo)
    settings = Settings()
    _check_empty(settings)
    _check_secrets(settings.secrets_file, folder, manifest)
    for file in of("secrets"):
        if not settings.secrets_file.exists():
            _place(folder, file, settings.secrets_file, undo)
    for file in of("mlflow", "label-studio"):
        _place(folder, file, var_dir / file.part / file.path, undo)
    store = RasterStore(settings.raster_store)
    for file in of("store"):
        undo.callback(_delete, store, file.path)
        store.put_file(file.path, folder.object(file.sha256))
    for file in of("catalog"):
        if make_url(settings.database_url).get_backend_name() == "sqlite":
            _place(folder, file, Path(make_url(settings.database_url).database or ""), undo)
        else:
            load_postgresql(settings.database_url, folder.object(file.sha256))
        _end_backup(settings)
    say(f"Restored {len(manifest.files)} files into {var_dir}")


def _place(folder: BackupFolder, file: SavedFile, target: Path, undo: ExitStack) -> None:
    """Copy a content to its place, readable by its owner only."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    undo.callback(target.unlink, missing_ok=True)
    with os.fdopen(descriptor, "wb") as written:
        with folder.object(file.sha256).open("rb") as content:
            shutil.copyfileobj(content, written)
        os.fsync(written.fileno())


def _delete(store: RasterStore, key: str) -> None:
    with suppress(Exception):  # the error that ended the restoration is told, not one of the store
        store.delete(key)


def _end_backup(settings: Settings) -> None:
    """Cancel the job that made the backup: queued again, it would make another into the folder of the original."""
    database = Database(settings.database_url)
    try:
        with database.write() as session:
            jobs.cancel_all(session, JobKind.BACK_UP, "it made the backup that was restored, or waited meanwhile")
    finally:
        database.dispose()


def _check_release(manifest: Manifest) -> None:
    """Refuse a schema that this release does not know: a later one wrote it."""
    try:
        ScriptDirectory(str(MIGRATIONS)).get_revision(manifest.versions["schema"])
    except CommandError as error:
        raise StartError(
            f"the backup has the schema {manifest.versions['schema']} of glacier-al {manifest.versions['glacier-al']}, "
            "which this release does not know; restore it with that release or a later one"
        ) from error


def _check_empty(settings: Settings) -> None:
    """Refuse to write over a database or a store outside the data folder."""
    if keys := RasterStore(settings.raster_store).all_keys():
        raise StartError(f"{settings.raster_store} holds {len(keys)} files; restore into an empty raster store")
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        is_taken = Path(url.database or "").exists()
    else:
        database = Database(settings.database_url)
        is_taken = bool(inspect(database.engine).get_table_names())
        database.dispose()
    if is_taken:
        shown = url.render_as_string(hide_password=True)
        raise StartError(f"{shown} is not empty; restore into an empty database, e.g. of another name")


def _check_secrets(path: Path, folder: BackupFolder, manifest: Manifest) -> None:
    """Refuse other secrets than those of the backup in the place of theirs; the same ones may lie there."""
    saved = [file.sha256 for file in manifest.files if file.part == "secrets"]
    if saved and path.exists() and sha256_of(path) not in saved:
        raise StartError(
            f"{path} holds other secrets than the backup; move it away, or replace it by {folder.object(saved[0])}"
        )
